// A gRPC server, or a client that tries every kind of call through a proxy: the real library on Node, for the tests.
//
//   node grpc-peer.mjs server CERT KEY      prints its port, then what its handlers saw, a line of JSON each
//   node grpc-peer.mjs client CA TARGET     prints the outcome of every call as one line of JSON; takes `grpc_proxy`

import { readFileSync } from "node:fs";
import grpc from "@grpc/grpc-js";

const raw = (value) => value;
const method = (path, requestStream, responseStream) => ({
  path,
  requestStream,
  responseStream,
  requestSerialize: raw,
  requestDeserialize: raw,
  responseSerialize: raw,
  responseDeserialize: raw,
});
const definition = {
  unary: method("/test.Echo/Unary", false, false),
  large: method("/test.Echo/Large", false, false),
  sum: method("/test.Echo/Sum", true, false),
  count: method("/test.Echo/Count", false, true),
  talk: method("/test.Echo/Talk", true, true),
  hang: method("/test.Echo/Hang", false, false),
  endless: method("/test.Echo/Endless", false, true),
  fail: method("/test.Echo/Fail", false, false),
  breakOff: method("/test.Echo/BreakOff", false, true),
};
const closed = { only: method("/closed.Service/Only", false, false) };

const [mode, first, second] = process.argv.slice(2);
if (mode === "server") serve(readFileSync(first), readFileSync(second));
else await call(readFileSync(first), second);

function say(value) {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

function serve(certificate, key) {
  const server = new grpc.Server();
  server.addService(definition, {
    unary: (call, done) => {
      const answer = new grpc.Metadata();
      answer.set("x-head", "from the server");
      call.sendMetadata(answer);
      const trailers = new grpc.Metadata();
      trailers.set("x-trailer", "behind the message");
      say({ saw: "unary", metadata: call.metadata.getMap() });
      done(null, call.request, trailers);
    },
    large: (call, done) => done(null, Buffer.alloc(call.request.length, 7)),
    sum: (call, done) => {
      let sum = 0;
      call.on("data", (message) => {
        sum += Number(message.toString());
      });
      call.on("end", () => done(null, Buffer.from(String(sum))));
    },
    count: (call) => {
      for (let i = 1; i <= Number(call.request.toString()); i += 1) call.write(Buffer.from(String(i)));
      call.end();
    },
    talk: (call) => {
      call.on("data", (message) => call.write(Buffer.from(`you said ${message}`)));
      call.on("end", () => call.end());
    },
    hang: (call) => call.on("cancelled", () => say({ saw: "hang cancelled" })),
    endless: (call) => {
      const timer = setInterval(() => call.write(Buffer.from("tick")), 5);
      call.on("cancelled", () => {
        clearInterval(timer);
        say({ saw: "endless cancelled" });
      });
    },
    fail: (_call, done) => {
      const metadata = new grpc.Metadata();
      metadata.set("x-reason", "because");
      metadata.set("x-reason-bin", Buffer.from([0, 1, 254, 255]));
      done({ code: grpc.status.FAILED_PRECONDITION, details: "not now, 100 % sure: ü", metadata });
    },
    breakOff: (call) => {
      call.write(Buffer.from("one"));
      const metadata = new grpc.Metadata();
      metadata.set("x-reason", "in the middle");
      call.emit("error", { code: grpc.status.DATA_LOSS, details: "lost", metadata });
    },
  });
  const credentials = grpc.ServerCredentials.createSsl(null, [{ cert_chain: certificate, private_key: key }]);
  server.bindAsync("127.0.0.1:0", credentials, (error, port) => {
    if (error) throw error;
    say({ port });
  });
}

async function call(ca, target) {
  const credentials = grpc.credentials.createSsl(ca);
  const options = { "grpc.max_receive_message_length": -1 };
  const client = new (grpc.makeGenericClientConstructor(definition, "Echo"))(target, credentials, options);
  const stranger = new (grpc.makeGenericClientConstructor(closed, "Closed"))(target, credentials, options);
  const results = {};

  const unary = (method, text, metadata = new grpc.Metadata(), more = {}, from = client) =>
    new Promise((resolve) => {
      const result = {};
      const call = from[method](Buffer.from(text), metadata, more, (error, message) => {
        if (error) Object.assign(result, failure(error));
        else result.message = message.toString();
        // The status comes behind the message.
        setImmediate(() => resolve(result));
      });
      call.on("metadata", (head) => {
        result.head = head.getMap();
      });
      call.on("status", (status) => {
        result.trailers = status.metadata.getMap();
      });
    });

  const stream = (call, onData = () => undefined) =>
    new Promise((resolve) => {
      const result = { messages: [] };
      call.on("data", (message) => {
        result.messages.push(message.toString());
        onData(result.messages.length, call);
      });
      call.on("error", (error) => Object.assign(result, failure(error)));
      call.on("status", () => setImmediate(() => resolve(result)));
    });

  const metadata = new grpc.Metadata();
  metadata.set("authorization", "Bearer placeholder");
  metadata.set("x-plain", "as it is");
  metadata.set("x-bytes-bin", Buffer.from([0, 1, 254, 255]));
  results.unary = await unary("unary", "hello", metadata);

  const large = await unary("large", "x".repeat(2 * 1024 * 1024));
  results.large = large.message?.length ?? large;

  results.sum = await new Promise((resolve) => {
    const call = client.sum((error, message) => resolve(error ? failure(error) : message.toString()));
    for (let i = 1; i <= 100; i += 1) call.write(Buffer.from(String(i)));
    call.end();
  });

  results.count = await stream(client.count(Buffer.from("200")));

  // Each message waits for the answer to the one before: nothing on the way may wait for the end of the request.
  const talk = client.talk();
  talk.write(Buffer.from("1"));
  results.talk = await stream(talk, (count, call) => {
    if (count < 5) call.write(Buffer.from(String(count + 1)));
    else call.end();
  });

  results.deadline = await unary("hang", "", new grpc.Metadata(), { deadline: Date.now() + 300 });

  results.cancelled = await stream(client.endless(Buffer.alloc(0)), (count, call) => {
    if (count === 3) call.cancel();
  });
  results.cancelled.messages.length = Math.min(3, results.cancelled.messages.length);

  results.failed = await unary("fail", "");
  results.brokenOff = await stream(client.breakOff(Buffer.alloc(0)));
  results.refused = await unary("only", "", new grpc.Metadata(), {}, stranger);

  const many = await Promise.all(Array.from({ length: 300 }, (_, index) => unary("unary", `message ${index}`)));
  results.many = many.filter(({ message }, index) => message === `message ${index}`).length;
  say(results);
  client.close();
  stranger.close();
}

function failure({ code, details, metadata }) {
  return { code, details, metadata: metadata?.getMap() };
}
