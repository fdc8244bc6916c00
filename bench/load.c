/*
 * The load generator of the benchmark: HTTP/1.1 over TLS on one thread, directly or through a CONNECT proxy.
 *
 *   load --to HOST:PORT --name NAME --ca FILE [--proxy HOST:PORT --proxy-auth BASE64]
 *        --mode warm|cold|idle|bulk --path PATH [--connections N] [--seconds S] [--body BYTES] [--split]
 *
 * warm   opens all connections, keeps one request in flight on each for half a second, prints `ready`, waits for a
 *        line on standard input, then does the same for S seconds and counts.
 * cold   as warm, but every request opens a connection of its own and closes it.
 * idle   opens all connections, one after the other, sends one request on each, prints `ready` and waits for a line.
 * bulk   as warm with one request in all: a large answer or, with --body, a large upload.
 *
 * Ends with one line of JSON. Times are in microseconds and measured from the first byte of a request written to
 * the last byte of its answer read (in cold mode from before connecting). --split sends head and body in two writes.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum state { CONNECTING, PROXY_REQUEST, PROXY_ANSWER, HANDSHAKE, IDLE, SENDING, RECEIVING };

struct connection {
  int fd;
  SSL *ssl;
  enum state state;
  uint32_t watched;    /* epoll events asked for */
  size_t sent;         /* bytes of head and body written */
  char head[16384];    /* answer head as far as it has arrived */
  size_t head_length;
  int64_t body_left;   /* bytes of the answer still to come; -1 while the head is incomplete */
  uint64_t started_us; /* of the request in flight */
  uint64_t requests;
};

static const char *to_host = "127.0.0.1", *name, *ca, *proxy_host, *proxy_auth, *mode = "warm", *path = "/";
static int to_port, proxy_port, connections = 1;
static double seconds = 1;
static size_t body_bytes;
static bool split_writes;

static SSL_CTX *context;
static int epoll_fd;
static char head[2048], proxy_head[2048];
static size_t head_bytes, proxy_head_bytes;
static char block[256 * 1024]; /* what an upload repeats, and where answers go */
static char upload[256 * 1024];

static bool counting;
static uint64_t completed, errors, opened, bytes_in;
static uint32_t *latencies;
static size_t latency_count, latency_room;

static void die(const char *what) {
  fprintf(stderr, "load: %s: %s\n", what, errno ? strerror(errno) : "");
  ERR_print_errors_fp(stderr);
  exit(1);
}

static uint64_t now_us(void) {
  struct timespec at;
  clock_gettime(CLOCK_MONOTONIC, &at);
  return (uint64_t)at.tv_sec * 1000000 + (uint64_t)at.tv_nsec / 1000;
}

static void watch(struct connection *c, uint32_t events) {
  if (c->watched == events) return;
  struct epoll_event event = {.events = events, .data.ptr = c};
  if (epoll_ctl(epoll_fd, c->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->fd, &event) < 0) die("epoll_ctl");
  c->watched = events;
}

static void open_connection(struct connection *c) {
  memset(c, 0, sizeof *c);
  c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (c->fd < 0) die("socket");
  int yes = 1;
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(proxy_host ? proxy_port : to_port)};
  /* A direct name is resolved by the caller; only the proxy path hands a name on. */
  if (inet_pton(AF_INET, proxy_host ? proxy_host : to_host, &address.sin_addr) != 1) {
    if (inet_pton(AF_INET, "127.0.0.1", &address.sin_addr) != 1) die("address");
  }
  if (connect(c->fd, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS) die("connect");
  opened++;
  c->state = CONNECTING;
  c->started_us = now_us();
  watch(c, EPOLLOUT);
}

static void close_connection(struct connection *c) {
  if (c->ssl) {
    if (c->state >= IDLE) SSL_shutdown(c->ssl); /* say goodbye; do not wait for the other's */
    SSL_free(c->ssl);
  }
  c->ssl = NULL;
  if (c->fd >= 0) close(c->fd);
  c->fd = -1;
}

static void fail(struct connection *c, const char *why) {
  if (errors++ < 3) fprintf(stderr, "load: %s (state %d, request %lu)\n", why, c->state, (unsigned long)c->requests);
  ERR_clear_error();
  close_connection(c);
  if (errors > 1000) exit(1);
  open_connection(c);
}

static void begin_request(struct connection *c) {
  c->state = SENDING;
  c->sent = 0;
  c->head_length = 0;
  c->body_left = -1;
  if (strcmp(mode, "cold") != 0) c->started_us = now_us();
}

/* What remains of an SSL call that did not finish: 0 when it only has to wait. */
static int wait_for_tls(struct connection *c, int result) {
  switch (SSL_get_error(c->ssl, result)) {
    case SSL_ERROR_WANT_READ: watch(c, EPOLLIN); return 0;
    case SSL_ERROR_WANT_WRITE: watch(c, EPOLLOUT); return 0;
    default: return -1;
  }
}

/* Writes head and body; true when all of it is written, false when it has to wait or failed. */
static bool send_request(struct connection *c) {
  size_t total = head_bytes + body_bytes;
  while (c->sent < total) {
    const char *from;
    size_t length;
    if (c->sent < head_bytes) {
      from = head + c->sent;
      length = head_bytes - c->sent;
      /* A small body leaves with its head in one write, unless told otherwise; head and body lie side by side. */
      if (!split_writes && head_bytes + body_bytes <= sizeof head) length += body_bytes;
    } else {
      size_t at = (c->sent - head_bytes) % sizeof upload;
      from = upload + at;
      length = sizeof upload - at;
      if (length > total - c->sent) length = total - c->sent;
    }
    int written = SSL_write(c->ssl, from, (int)length);
    if (written <= 0) {
      if (wait_for_tls(c, written) < 0) fail(c, "write failed");
      return false;
    }
    c->sent += (size_t)written;
  }
  return true;
}

static void finish_request(struct connection *c) {
  c->requests++;
  if (!counting) return;
  completed++;
  if (latency_count < latency_room) latencies[latency_count++] = (uint32_t)(now_us() - c->started_us);
}

/* Reads the answer; true when it is complete, false when it has to wait or failed. */
static bool receive_answer(struct connection *c) {
  for (;;) {
    if (c->body_left < 0) {
      int got = SSL_read(c->ssl, c->head + c->head_length, (int)(sizeof c->head - 1 - c->head_length));
      if (got <= 0) {
        if (wait_for_tls(c, got) < 0) fail(c, "answer ended in its head");
        return false;
      }
      bytes_in += (uint64_t)got;
      c->head_length += (size_t)got;
      c->head[c->head_length] = 0;
      char *end = strstr(c->head, "\r\n\r\n");
      if (!end) {
        if (c->head_length >= sizeof c->head - 1) fail(c, "head too long");
        if (c->state != RECEIVING) return false;
        continue;
      }
      if (strncmp(c->head, "HTTP/1.1 2", 10) != 0) {
        if (errors < 3) fprintf(stderr, "load: answered %.200s\n", c->head);
        fail(c, "status is not 2xx");
        return false;
      }
      char *length = strcasestr(c->head, "\r\ncontent-length:");
      bool has_none = strncmp(c->head + 9, "204", 3) == 0;
      if ((!length || length > end) && !has_none) {
        fail(c, "answer has no Content-Length");
        return false;
      }
      int64_t announced = has_none ? 0 : strtoll(length + 17, NULL, 10);
      c->body_left = announced - (int64_t)(c->head_length - (size_t)(end + 4 - c->head));
    }
    if (c->body_left == 0) return true;
    if (c->body_left < 0) {
      fail(c, "more bytes than announced");
      return false;
    }
    size_t want = c->body_left < (int64_t)sizeof block ? (size_t)c->body_left : sizeof block;
    int got = SSL_read(c->ssl, block, (int)want);
    if (got <= 0) {
      if (wait_for_tls(c, got) < 0) fail(c, "answer ended in its body");
      return false;
    }
    bytes_in += (uint64_t)got;
    c->body_left -= got;
  }
}

static void start_tls(struct connection *c) {
  c->ssl = SSL_new(context);
  SSL_set_fd(c->ssl, c->fd);
  SSL_set_tlsext_host_name(c->ssl, name);
  SSL_set1_host(c->ssl, name);
  c->state = HANDSHAKE;
}

static bool send_connect(struct connection *c) {
  while (c->sent < proxy_head_bytes) {
    ssize_t written = write(c->fd, proxy_head + c->sent, proxy_head_bytes - c->sent);
    if (written < 0 && errno == EAGAIN) return false;
    if (written < 0) die("write to proxy");
    c->sent += (size_t)written;
  }
  return true;
}

/* Takes a connection as far as it gets without waiting. In cold mode a finished one is replaced. */
static void advance(struct connection *c, bool more) {
  switch (c->state) {
    case CONNECTING: {
      int problem = 0;
      socklen_t size = sizeof problem;
      getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &problem, &size);
      if (problem) {
        errno = problem;
        die("connect");
      }
      if (!proxy_host) {
        start_tls(c);
        advance(c, more);
        return;
      }
      c->state = PROXY_REQUEST;
    } /* fall through */
    case PROXY_REQUEST:
      if (!send_connect(c)) return;
      c->state = PROXY_ANSWER;
      watch(c, EPOLLIN);
      return;
    case PROXY_ANSWER: {
      ssize_t got = read(c->fd, c->head + c->head_length, sizeof c->head - 1 - c->head_length);
      if (got < 0 && errno == EAGAIN) return;
      if (got <= 0) {
        fail(c, "proxy closed the connection");
        return;
      }
      c->head_length += (size_t)got;
      c->head[c->head_length] = 0;
      if (!strstr(c->head, "\r\n\r\n")) return;
      if (strncmp(c->head, "HTTP/1.", 7) != 0 || strncmp(c->head + 8, " 200", 4) != 0) {
        if (errors < 3) fprintf(stderr, "load: proxy answered %.200s\n", c->head);
        fail(c, "CONNECT was refused");
        return;
      }
      start_tls(c);
    } /* fall through */
    case HANDSHAKE: {
      int done = SSL_connect(c->ssl);
      if (done != 1) {
        if (wait_for_tls(c, done) < 0) {
          if (errors < 3) ERR_print_errors_fp(stderr);
          fail(c, "handshake failed");
        }
        return;
      }
      c->state = IDLE;
    } /* fall through */
    case IDLE:
      if (!more) return;
      begin_request(c); /* fall through */
    case SENDING:
      if (!send_request(c)) return;
      c->state = RECEIVING;
      watch(c, EPOLLIN);
      return; /* the answer cannot be there yet: save a read that finds nothing */
    case RECEIVING:
      if (!receive_answer(c)) return;
      finish_request(c);
      c->state = IDLE;
      if (strcmp(mode, "cold") == 0) {
        close_connection(c);
        if (more) open_connection(c);
        return;
      }
      if (more) advance(c, more);
  }
}

static void turn(int timeout_ms, bool more) {
  struct epoll_event events[256];
  int count = epoll_wait(epoll_fd, events, 256, timeout_ms);
  for (int i = 0; i < count; i++) advance(events[i].data.ptr, more);
}

/* Opens every connection and completes `warm_up` requests on each; a few connections at a time. */
static void establish(struct connection *all, uint64_t warm_up) {
  const int at_once = strcmp(mode, "idle") == 0 ? 1 : 16;
  uint64_t deadline = now_us() + 60000000;
  int next = 0, done = 0;
  while (done < connections) {
    while (next < connections && next - done < at_once) open_connection(&all[next++]);
    struct epoll_event events[64];
    int count = epoll_wait(epoll_fd, events, 64, 1000);
    for (int i = 0; i < count; i++) {
      struct connection *c = events[i].data.ptr;
      if (c->requests >= warm_up && c->state == IDLE) continue; /* counted already; a session ticket came */
      advance(c, c->requests < warm_up);
      /* The request that just ended may have been the last one of the warm-up; advance() then began another. */
      if (c->state == IDLE && c->requests >= warm_up) done++;
    }
    if (now_us() > deadline) {
      fprintf(stderr, "load: %d of %d connections after 60 s\n", done, connections);
      exit(1);
    }
  }
}

/* Keeps every connection busy for a while, so that both sides have all the connections that they will need. */
static void warm_up_together(struct connection *all) {
  uint64_t end = now_us() + 500000;
  for (int i = 0; i < connections; i++) advance(&all[i], true);
  while (now_us() < end) turn(50, true);
  for (int i = 0; i < connections; i++) {
    while (all[i].state != IDLE) turn(50, false);
  }
}

static int ascending(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return x < y ? -1 : x > y;
}

static uint32_t percentile(double share) {
  if (latency_count == 0) return 0;
  size_t at = (size_t)((double)latency_count * share);
  return latencies[at >= latency_count ? latency_count - 1 : at];
}

static void wait_for_go(void) {
  char line[16];
  printf("ready\n");
  fflush(stdout);
  if (!fgets(line, sizeof line, stdin)) exit(1);
}

static void report(double elapsed) {
  qsort(latencies, latency_count, sizeof *latencies, ascending);
  size_t slow = 0; /* the plateau of a peer that waits for a delayed acknowledgement is at 40 ms */
  for (size_t i = latency_count; i > 0 && latencies[i - 1] >= 35000; i--) slow++;
  printf(
      "{\"requests\":%lu,\"errors\":%lu,\"seconds\":%.6f,\"bytesIn\":%lu,\"opened\":%lu,"
      "\"p50Us\":%u,\"p99Us\":%u,\"maxUs\":%u,\"over35ms\":%zu}\n",
      (unsigned long)completed, (unsigned long)errors, elapsed, (unsigned long)bytes_in, (unsigned long)opened,
      percentile(0.5), percentile(0.99), percentile(1), slow);
}

static void split_address(const char *text, const char **host, int *port) {
  const char *colon = strrchr(text, ':');
  if (!colon) die("HOST:PORT expected");
  *host = strndup(text, (size_t)(colon - text));
  *port = atoi(colon + 1);
}

static void parse_arguments(int count, char **arguments) {
  for (int i = 1; i < count; i++) {
    const char *key = arguments[i];
    if (strcmp(key, "--split") == 0) {
      split_writes = true;
      continue;
    }
    if (i + 1 >= count) die(key);
    const char *value = arguments[++i];
    if (strcmp(key, "--to") == 0) split_address(value, &to_host, &to_port);
    else if (strcmp(key, "--name") == 0) name = value;
    else if (strcmp(key, "--ca") == 0) ca = value;
    else if (strcmp(key, "--proxy") == 0) split_address(value, &proxy_host, &proxy_port);
    else if (strcmp(key, "--proxy-auth") == 0) proxy_auth = value;
    else if (strcmp(key, "--mode") == 0) mode = value;
    else if (strcmp(key, "--path") == 0) path = value;
    else if (strcmp(key, "--connections") == 0) connections = atoi(value);
    else if (strcmp(key, "--seconds") == 0) seconds = atof(value);
    else if (strcmp(key, "--body") == 0) body_bytes = strtoull(value, NULL, 10);
    else die(key);
  }
  if (!name || !ca || !to_port) die("--to, --name and --ca are needed");
}

static void prepare_messages(void) {
  memset(upload, 'u', sizeof upload);
  int length = snprintf(head, sizeof head, "%s %s HTTP/1.1\r\nHost: %s:%d\r\nUser-Agent: load\r\nAccept: */*\r\n"
                        "Authorization: Bearer placeholder\r\n", body_bytes ? "PUT" : "GET", path, name, to_port);
  if (body_bytes) length += snprintf(head + length, sizeof head - (size_t)length, "Content-Length: %zu\r\n", body_bytes);
  length += snprintf(head + length, sizeof head - (size_t)length, "\r\n");
  head_bytes = (size_t)length;
  if (head_bytes + body_bytes <= sizeof head) memset(head + head_bytes, 'u', body_bytes);
  length = snprintf(proxy_head, sizeof proxy_head, "CONNECT %s:%d HTTP/1.1\r\nHost: %s:%d\r\n", name, to_port, name, to_port);
  if (proxy_auth) {
    length += snprintf(proxy_head + length, sizeof proxy_head - (size_t)length, "Proxy-Authorization: Basic %s\r\n", proxy_auth);
  }
  length += snprintf(proxy_head + length, sizeof proxy_head - (size_t)length, "\r\n");
  proxy_head_bytes = (size_t)length;
}

int main(int count, char **arguments) {
  parse_arguments(count, arguments);
  prepare_messages();
  context = SSL_CTX_new(TLS_client_method());
  if (!context || SSL_CTX_load_verify_locations(context, ca, NULL) != 1) die("cannot read the CA");
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF); /* every handshake is a full one */
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  epoll_fd = epoll_create1(0);
  latency_room = 4000000;
  latencies = malloc(latency_room * sizeof *latencies);
  struct connection *all = calloc((size_t)connections, sizeof *all);
  if (!latencies || !all) die("memory");

  const bool is_bulk = strcmp(mode, "bulk") == 0, is_cold = strcmp(mode, "cold") == 0;
  if (!is_cold) establish(all, is_bulk ? 0 : 1);
  if (strcmp(mode, "warm") == 0) warm_up_together(all);
  wait_for_go();
  bytes_in = 0;
  errors = 0;
  opened = 0;
  counting = true;
  uint64_t start = now_us();
  if (strcmp(mode, "idle") != 0) {
    uint64_t end = start + (uint64_t)(seconds * 1e6);
    for (int i = 0; i < connections; i++) {
      if (is_cold) open_connection(&all[i]);
      else advance(&all[i], true);
    }
    while (is_bulk ? completed < (uint64_t)connections && errors == 0 : now_us() < end) turn(100, !is_bulk);
  }
  double elapsed = (double)(now_us() - start) / 1e6;
  report(elapsed);
  return 0;
}
