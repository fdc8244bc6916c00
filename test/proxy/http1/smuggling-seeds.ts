/**
 * Messages to start fuzzing from: ordinary ones, and the known ways to make two parsers disagree (CL.TE, TE.CL,
 * TE.TE, line-end and chunk-size tricks). Latin1 text.
 */

const post = "POST /a HTTP/1.1\r\nHost: a.test\r\n";
const chunked = `${post}Transfer-Encoding: chunked\r\n\r\n`;
const inner = "GET /admin HTTP/1.1\r\nHost: a.test\r\n\r\n";

export const requestSeeds: readonly string[] = [
  "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
  "\r\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
  "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
  `GET /a?q=1&r=%20 HTTP/1.1\r\nHost: a.test:8443\r\nAccept:  */*\t\r\nX-Empty:\r\nX-Obs: \u00e9\r\n\r\n${inner}`,
  `${post}Content-Length: 5\r\n\r\nhello${inner}`,
  `${post}Content-Length: 0\r\n\r\n${inner}`,
  `${chunked}5\r\nhello\r\n0\r\n\r\n${inner}`,
  `${chunked}5;name=value;x="q\\"q"\r\nhello\r\n00\r\nX-Sum: 1\r\nAuthorization: t\r\n\r\n${inner}`,
  "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n\x16\x03\x01",
  "GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x85",
  "OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n",
  "GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
  // CL.TE and TE.CL
  `${post}Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG`,
  `${post}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\n${inner}`,
  // TE.TE
  `${post}Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n`,
  `${post}Transfer-Encoding: xchunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n`,
  `${post}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n`,
  `${post}Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n`,
  `${post}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n`,
  `${post}Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n`,
  `${post}Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n`,
  `${post}Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n`,
  `${post}Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n`,
  `${post}X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  `${post}X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  `${post}Transfer-Encoding: chun\u212aed\r\n\r\n0\r\n\r\n`,
  `POST /a HTTP/1.0\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${inner}`,
  // lengths
  `${post}Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello`,
  `${post}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!`,
  `${post}Content-Length: 5, 5\r\n\r\nhello`,
  `${post}Content-Length: +5\r\n\r\nhello`,
  `${post}Content-Length: -5\r\n\r\nhello`,
  `${post}Content-Length: 0x5\r\n\r\nhello`,
  `${post}Content-Length: 5 5\r\n\r\nhello`,
  `${post}Content-Length: 005\r\n\r\nhello`,
  `${post}Content-Length:\r\n\r\nhello`,
  `${post}Content-Length: 18446744073709551621\r\n\r\nhello`,
  `${post}Content-Length: 5\0\r\n\r\nhello`,
  // chunks
  `${chunked}5 \r\nhello\r\n0\r\n\r\n`,
  `${chunked}0x5\r\nhello\r\n0\r\n\r\n`,
  `${chunked}+5\r\nhello\r\n0\r\n\r\n`,
  `${chunked}5_0\r\nhello\r\n0\r\n\r\n`,
  `${chunked}10000000000000005\r\nhello\r\n0\r\n\r\n`,
  `${chunked}5\nhello\r\n0\r\n\r\n`,
  `${chunked}5\r\nhelloXX0\r\n\r\n`,
  `${chunked}5\r\nhello\n0\r\n\r\n`,
  `${chunked}5;\nhello\r\n0\r\n\r\n`,
  `${chunked}5;a=\0\r\nhello\r\n0\r\n\r\n`,
  `${chunked}5;a\rb\r\nhello\r\n0\r\n\r\n`,
  `${chunked}0\r\nContent-Length: 5\r\n\r\n${inner}`,
  `${chunked}0\r\n X: folded\r\n\r\n`,
  `${chunked}0\r\n\n${inner}`,
  // lines
  "GET / HTTP/1.1\nHost: a.test\n\n",
  "GET / HTTP/1.1\r\nHost: a.test\r\n folded\r\n\r\n",
  "GET / HTTP/1.1\r\n X: y\r\nHost: a.test\r\n\r\n",
  "GET  / HTTP/1.1\r\nHost: a.test\r\n\r\n",
  "GET\t/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
  "GET / HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n",
  "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
  "GET /\r\n",
];

const ok = "HTTP/1.1 200 OK\r\n";

export const responseSeeds: readonly string[] = [
  `${ok}Content-Length: 5\r\nServer: x\r\n\r\nhello`,
  `${ok}\r\nuntil the end`,
  `${ok}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\nHTTP/1.1 200 OK\r\n`,
  "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
  "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n",
  "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nHTTP/1.1",
  'HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: "a"\r\n\r\n',
  "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
  "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x05hello",
  "HTTP/1.0 200 OK\r\n\r\nold",
  "HTTP/1.1 999 Request denied\r\nContent-Length: 1\r\n\r\nx",
  `${ok}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  `${ok}Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello`,
  `${ok}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`,
  `${ok}Transfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nhi`,
  `${ok}Content-Length : 5\r\n\r\nhello`,
  "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
  "HTTP/1.1 099 Low\r\nContent-Length: 0\r\n\r\n",
  "HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n",
  "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
  "\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
  "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
];
