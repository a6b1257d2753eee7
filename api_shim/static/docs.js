"use strict";
// Everything is set as text, never as markup: summaries and answers are other people's words.
const byId = (id) => document.getElementById(id);
const make = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
};

let description;
const resolve = (schema) => {
  let found = schema || {};
  for (let hops = 0; found.$ref && hops < 20; hops++) {
    found = found.$ref.slice(2).split("/").reduce((at, key) => at[key.replaceAll("~1", "/").replaceAll("~0", "~")], description);
  }
  return found;
};
const typeOf = (schema) => {
  if (schema?.$ref) return schema.$ref.split("/").pop();
  const found = schema || {};
  if (found.const !== undefined) return JSON.stringify(found.const);
  if (found.enum) return found.enum.map((one) => JSON.stringify(one)).join(" | ");
  if (found.anyOf || found.oneOf) return (found.anyOf || found.oneOf).map(typeOf).join(" | ");
  if (found.type === "array") return `${typeOf(found.items)}[]`;
  return found.format ? `${found.type} (${found.format})` : found.type || "any";
};
const example = (schema, depth = 0) => {
  const found = resolve(schema);
  if (found.examples?.length) return found.examples[0];
  if (found.default !== undefined) return found.default;
  if (found.const !== undefined) return found.const;
  if (found.enum) return found.enum[0];
  const choice = (found.anyOf || found.oneOf || [])[0];
  if (choice) return example(choice, depth + 1);
  if (depth > 6) return null;
  switch (found.type) {
    case "object":
      return Object.fromEntries(Object.entries(found.properties || {}).map(([name, one]) => [name, example(one, depth + 1)]));
    case "array": return [example(found.items, depth + 1)];
    case "integer": case "number": return found.minimum ?? 0;
    case "boolean": return false;
    case "null": return null;
    default: return found.format === "uuid" ? "00000000-0000-7000-8000-000000000000" : "";
  }
};

const fields = (schema) => {
  const found = resolve(schema);
  if (!found.properties) return make("pre", {}, typeOf(schema));
  const needed = new Set(found.required || []);
  return make("table", {}, ...Object.entries(found.properties).map(([name, one]) => make("tr", {},
    make("td", {}, make("code", {}, name), needed.has(name) ? "" : " ?"),
    make("td", { class: "dim" }, typeOf(one)),
    make("td", {}, one.description || resolve(one).description || ""))));
};

const attempt = (path, method, operation) => {
  const inputs = (operation.parameters || []).map((parameter) => ({
    parameter, input: make("input", { "aria-label": parameter.name, placeholder: typeOf(parameter.schema) }),
  }));
  const content = operation.requestBody ? Object.keys(operation.requestBody.content)[0] : null;
  const body = content === null ? null : make("textarea", { "aria-label": "Body", spellcheck: "false" });
  if (content === "application/json") body.value = JSON.stringify(example(operation.requestBody.content[content].schema), null, 2);
  const output = make("pre", { hidden: true, "aria-live": "polite" });
  const send = async () => {
    let target = path;
    const query = new URLSearchParams();
    const headers = {};
    for (const { parameter, input } of inputs) {
      if (input.value === "" && parameter.in !== "path") continue;
      if (parameter.in === "path") target = target.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
      else if (parameter.in === "query") query.append(parameter.name, input.value);
      else headers[parameter.name] = input.value;
    }
    const token = byId("token").value.trim();
    if (token) headers.Authorization = `Bearer ${token}`;
    if (body && body.value) headers["Content-Type"] = content;
    if ([...query].length) target += `?${query}`;
    output.hidden = false;
    output.textContent = "…";
    const started = performance.now();
    try {
      const answer = await fetch(target, { method: method.toUpperCase(), headers, body: body?.value || undefined });
      const shown = ["etag", "location", "link", "ratelimit", "retry-after", "x-request-id", "content-type"]
        .filter((name) => answer.headers.has(name)).map((name) => `${name}: ${answer.headers.get(name)}`);
      const head = [`${answer.status} ${answer.statusText}  (${Math.round(performance.now() - started)} ms)`, ...shown].join("\n");
      output.textContent = head;
      if ((answer.headers.get("content-type") || "").startsWith("text/event-stream")) {
        const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
        for (let part; !(part = await reader.read()).done;) output.textContent += `\n${part.value}`;
        return;
      }
      const text = await answer.text();
      let pretty = text;
      try { pretty = JSON.stringify(JSON.parse(text), null, 2); } catch { /* not JSON: as it is */ }
      output.textContent = `${head}\n\n${pretty}`;
    } catch (error) {
      output.textContent = String(error);
    }
  };
  return make("section", {}, make("h3", {}, "Try it"),
    make("table", {}, ...inputs.map(({ parameter, input }) => make("tr", {},
      make("td", {}, make("code", {}, parameter.name), parameter.required ? "" : " ?"),
      make("td", {}, input),
      make("td", { class: "dim" }, `${parameter.in}. ${parameter.description || ""}`)))),
    body, make("p", {}, make("button", { type: "button", onclick: send }, "Send")), output);
};

const show = (path, method, operation) => {
  const success = Object.entries(operation.responses).filter(([status]) => status < "300");
  const failures = Object.entries(operation.responses).filter(([status]) => status >= "300");
  const inside = make("div");
  const block = make("details", { class: "operation", id: operation.operationId },
    make("summary", {}, make("span", { class: `verb ${method}` }, method.toUpperCase()), make("span", { class: "path" }, path),
      make("span", { class: "dim" }, operation.summary)), inside);
  block.addEventListener("toggle", () => {
    if (!block.open || inside.childElementCount) return;
    const scopes = operation.security?.flatMap((one) => one.token || []) || [];
    const open = operation.security?.some((one) => !Object.keys(one).length);
    inside.append(make("p", { class: "description" }, operation.description || ""),
      make("p", { class: "dim" }, open ? "Needs no token." : `Needs a token${scopes.length ? ` with ${scopes.join(", ")}` : ""}.`));
    const content = Object.values(operation.requestBody?.content || {})[0];
    if (content?.schema) inside.append(make("h3", {}, "Body"), fields(content.schema));
    for (const [status, answer] of success) {
      const schema = Object.values(answer.content || {})[0]?.schema;
      inside.append(make("h3", {}, `Answer ${status}: ${answer.description}`));
      if (schema) inside.append(fields(schema));
    }
    inside.append(attempt(path, method, operation), make("h3", {}, "Other answers"),
      make("table", {}, ...failures.map(([status, answer]) => make("tr", {}, make("td", {}, status), make("td", {}, answer.description)))));
  });
  return block;
};

const start = async () => {
  const answer = await fetch("/openapi.json");
  description = await answer.json();
  document.title = byId("title").textContent = description.info.title;
  const groups = new Map();
  for (const [path, operations] of Object.entries(description.paths)) {
    for (const [method, operation] of Object.entries(operations)) {
      const tag = operation.tags[0];
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push({ path, method, operation });
    }
  }
  const main = byId("operations");
  main.replaceChildren(make("p", {}, description.info.description));
  const entries = [];
  for (const [tag, all] of [...groups].sort(([one], [other]) => one.localeCompare(other))) {
    const heading = make("h2", {}, tag);
    const title = make("h2", {}, tag);
    main.append(heading);
    byId("index").append(title);
    for (const { path, method, operation } of all) {
      const block = show(path, method, operation);
      const link = make("a", { href: `#${operation.operationId}` }, operation.summary);
      main.append(block);
      byId("index").append(link);
      entries.push({ heading, title, block, link, text: `${method} ${path} ${operation.summary} ${operation.description || ""}`.toLowerCase() });
    }
  }
  byId("search").addEventListener("input", (event) => {
    const words = event.target.value.toLowerCase().split(/\s+/);
    const shown = new Set();
    for (const { heading, title, block, link, text } of entries) {
      const found = words.every((word) => text.includes(word));
      block.hidden = link.hidden = !found;
      if (found) shown.add(heading).add(title);
    }
    for (const { heading, title } of entries) {
      heading.hidden = !shown.has(heading);
      title.hidden = !shown.has(title);
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !/^(INPUT|TEXTAREA)$/.test(document.activeElement.tagName)) {
      event.preventDefault();
      byId("search").focus();
    }
  });
  const open = () => {
    const block = byId(decodeURIComponent(location.hash.slice(1)));
    if (block?.tagName === "DETAILS") { block.open = true; block.scrollIntoView(); }
  };
  addEventListener("hashchange", open);
  open();
};
start().catch((error) => byId("operations").replaceChildren(make("p", {}, `The description can't be loaded: ${error}`)));
