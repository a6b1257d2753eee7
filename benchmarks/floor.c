/* The least that a WebSocket relay can do: copy each update to the others of its room.

   No document, no journal, no check of anything. One thread, epoll. It answers a Step1 with an empty Step2, and copies
   sync updates and awareness. As `floor PORT` each copy leaves in a send() of its own; as `floor PORT batch` what is
   for one client leaves in one send() at the end of the turn. Loopback only; not a usable server. */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PATH = 2048, READ = 1 << 16 };

typedef struct { uint8_t *bytes; size_t size, room; } Buffer;
typedef struct Client {
    int fd, place, waiting;      /* waiting: for the socket to take more */
    int queued;                  /* in `full`, the clients to write to at the end of the turn */
    struct Room *room;           /* NULL until the handshake */
    Buffer in, out;
} Client;
typedef struct Room { char name[PATH]; Client **clients; int count, space; struct Room *next; } Room;

static int epoll, batch;
static Room *rooms[1024];
static Client **full;
static size_t fulls, full_space;

static void die(const char *what) { perror(what); exit(1); }

static void *grown(void *old, size_t size) {
    void *new = realloc(old, size);
    if (!new) die("memory");
    return new;
}

static void append(Buffer *buffer, const void *bytes, size_t size) {
    if (buffer->size + size > buffer->room) {
        buffer->room = 2 * (buffer->size + size);
        buffer->bytes = grown(buffer->bytes, buffer->room);
    }
    memcpy(buffer->bytes + buffer->size, bytes, size);
    buffer->size += size;
}

static void take(Buffer *buffer, size_t size) {
    memmove(buffer->bytes, buffer->bytes + size, buffer->size - size);
    buffer->size -= size;
}

static Room *room_of(const char *name) {
    unsigned hash = 0;
    for (const char *c = name; *c; c++) hash = hash * 31 + (unsigned char)*c;
    Room **at = &rooms[hash % 1024];
    while (*at && strcmp((*at)->name, name)) at = &(*at)->next;
    if (!*at) {
        *at = grown(NULL, sizeof **at);
        memset(*at, 0, sizeof **at);
        strcpy((*at)->name, name);
    }
    return *at;
}

static void join(Client *client, Room *room) {
    if (room->count == room->space)
        room->clients = grown(room->clients, (room->space = 2 * room->space + 4) * sizeof(Client *));
    client->room = room;
    client->place = room->count;
    room->clients[room->count++] = client;
}

/* The memory stays: events of this turn, or `full`, may still name the client. */
static void leave(Client *client) {
    if (client->room) {
        Client *last = client->room->clients[--client->room->count];
        client->room->clients[last->place = client->place] = last;
        client->room = NULL;
    }
    if (client->fd >= 0) close(client->fd);
    client->fd = -1;
    client->in.size = client->out.size = 0;
}

static void listen_to(Client *client, int waiting) {
    struct epoll_event event = {.events = EPOLLIN | (waiting ? EPOLLOUT : 0), .data.ptr = client};
    if (waiting != client->waiting) epoll_ctl(epoll, EPOLL_CTL_MOD, client->fd, &event);
    client->waiting = waiting;
}

static void write_out(Client *client) {
    if (client->fd < 0 || !client->out.size) return;
    ssize_t sent = send(client->fd, client->out.bytes, client->out.size, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) { leave(client); return; }
    if (sent > 0) take(&client->out, (size_t)sent);
    listen_to(client, client->out.size > 0);
}

static void say(Client *client, const uint8_t *bytes, size_t size) {
    if (!batch && !client->out.size) {
        ssize_t sent = send(client->fd, bytes, size, MSG_NOSIGNAL);
        if (sent == (ssize_t)size) return;
        if (sent > 0) bytes += sent, size -= (size_t)sent;
    }
    append(&client->out, bytes, size);
    if (!batch) listen_to(client, 1);
    else if (!client->queued && !client->waiting) {
        if (fulls == full_space) full = grown(full, (full_space = 2 * full_space + 64) * sizeof *full);
        full[fulls++] = client;
        client->queued = 1;
    }
}

static void message(Client *from, const uint8_t *body, size_t size) {
    static uint8_t frame[READ + 4];
    static const uint8_t nothing[] = {0x82, 5, 0, 1, 2, 0, 0};
    if (size < 2 || size > READ) return;
    if (body[0] == 0 && body[1] == 0) { say(from, nothing, sizeof nothing); return; }
    if (body[0] > 1 || (body[0] == 0 && body[1] != 2)) return;
    size_t head = size < 126 ? 2 : 4;
    frame[0] = 0x82, frame[1] = (uint8_t)size;
    if (head == 4) frame[1] = 126, frame[2] = (uint8_t)(size >> 8), frame[3] = (uint8_t)size;
    memcpy(frame + head, body, size);
    Room *room = from->room;
    for (int i = 0; i < room->count; i++)
        if (room->clients[i] != from) say(room->clients[i], frame, head + size);
}

static size_t handshake(Client *client) {
    static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                 "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    char path[PATH] = "";
    uint8_t *end = memmem(client->in.bytes, client->in.size, "\r\n\r\n", 4);
    if (!end || client->in.size > 1 << 14) return 0;
    sscanf((char *)client->in.bytes, "GET %2047[^ ?]", path);
    say(client, (const uint8_t *)answer, sizeof answer - 1);
    join(client, room_of(path));
    return (size_t)(end - client->in.bytes) + 4;
}

static void read_in(Client *client) {
    static uint8_t bytes[READ];
    ssize_t got = recv(client->fd, bytes, sizeof bytes, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) { leave(client); return; }
    append(&client->in, bytes, (size_t)got);
    size_t at = client->room ? 0 : handshake(client);
    while (client->room && client->in.size - at >= 6) {
        uint8_t *frame = client->in.bytes + at;
        size_t length = frame[1] & 127, head = 6;
        if (length == 126) length = (size_t)frame[2] << 8 | frame[3], head = 8;
        else if (length == 127) { leave(client); return; }
        if (client->in.size - at < head + length) break;
        for (size_t i = 0; i < length; i++) frame[head + i] ^= frame[head - 4 + (i & 3)];
        if ((frame[0] & 15) == 8) { leave(client); return; }
        if ((frame[0] & 15) == 2) message(client, frame + head, length);
        at += head + length;
    }
    if (client->fd >= 0) take(&client->in, at);
}

static void accept_all(int listener) {
    int one = 1, fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        Client *client = grown(NULL, sizeof *client);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
        memset(client, 0, sizeof *client);
        client->fd = fd;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    }
}

int main(int count, char **words) {
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event events[512] = {{.events = EPOLLIN, .data.ptr = NULL}};
    struct rlimit files;
    if (count < 2) { fprintf(stderr, "floor PORT [batch]\n"); return 2; }
    here.sin_port = htons((uint16_t)atoi(words[1]));
    batch = count > 2;
    signal(SIGPIPE, SIG_IGN);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&here, sizeof here) || listen(listener, 4096)) die("listen");
    if ((epoll = epoll_create1(0)) < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, events)) die("epoll");
    for (;;) {
        int found = epoll_wait(epoll, events, 512, -1);
        for (int i = 0; i < found; i++) {
            Client *client = events[i].data.ptr;
            if (!client) accept_all(listener);
            else if (client->fd >= 0) {
                if (events[i].events & EPOLLOUT) write_out(client);
                if (client->fd >= 0 && events[i].events & ~(uint32_t)EPOLLOUT) read_in(client);
            }
        }
        for (size_t i = 0; i < fulls; i++) {
            full[i]->queued = 0;
            write_out(full[i]);
        }
        fulls = 0;
    }
}
