import { describe, expect, it } from "vitest";
import { Forbidden } from "../../src/errors.ts";
import { SessionCookie } from "../../src/http/authenticate.ts";
import { ClientAddress, checkOrigin, securityHeaders } from "../../src/http/guard.ts";
import { limitKeyOf } from "../../src/net/address.ts";

const baseUrl = "https://vault.example.com";

function judge(
  headers: Record<string, string>,
  options: { cookie?: boolean; always?: boolean; method?: string; session?: boolean } = {},
) {
  return () =>
    checkOrigin({
      method: options.method ?? "POST",
      headers: new Headers({ host: "10.0.0.7:14321", ...headers }),
      usesCookie: options.cookie ?? true,
      always: options.always ?? false,
      isForSession: options.session ?? false,
      baseUrl,
    });
}

describe("the origin check", () => {
  it.each([
    [{ "sec-fetch-site": "cross-site" }, "another site"],
    [{ "sec-fetch-site": "same-site" }, "a sibling subdomain, or another port of the same host"],
    [{ origin: "https://evil.example.com" }, "an origin that is not ours"],
    [{ origin: "http://10.0.0.7:8080" }, "another port of the same host"],
    [{ origin: "null" }, "a sandboxed frame or a data: page"],
    [{ origin: "https://vault.example.com.evil.org" }, "an origin that begins like ours"],
    [{ "content-type": "text/plain" }, "a JSON body under a type that needs no preflight"],
    [{ "content-type": "application/x-www-form-urlencoded; charset=utf-8" }, "a form"],
  ])("refuses a change with the cookie and %j: %s", (headers, _because) => {
    expect(judge(headers as Record<string, string>)).toThrow(Forbidden);
  });

  it.each([
    [{}, {}, "a client that is no browser"],
    [{ "sec-fetch-site": "same-origin" }, {}, "our own page"],
    [{ "sec-fetch-site": "none" }, {}, "typed by the person"],
    [{ origin: "https://vault.example.com" }, {}, "our base URL"],
    [{ origin: "http://10.0.0.7:14321" }, {}, "the address the browser reached us at"],
    [{ "sec-fetch-site": "cross-site" }, { cookie: false }, "a bearer token, which no site can add"],
    [{ "sec-fetch-site": "cross-site" }, { method: "GET" }, "a page that anybody may open"],
    [{ "sec-fetch-site": "same-origin" }, { method: "GET", session: true }, "a read of our own page"],
    [{ "sec-fetch-site": "none" }, { method: "GET", session: true }, "an address that the person typed"],
    [{ "content-type": "text/plain" }, { method: "GET", session: true }, "a read, whose body nobody looks at"],
    [{ "content-type": "application/json" }, {}, "JSON declared as JSON"],
  ])("lets %j %j through: %s", (headers, options, _because) => {
    expect(judge(headers as Record<string, string>, options)).not.toThrow();
  });

  it.each(["GET", "HEAD"])(
    "refuses a %s of what is for the person alone, which may leave traces in their name",
    (method) => {
      const options = { method, session: true };
      expect(judge({ "sec-fetch-site": "same-site" }, options)).toThrow(Forbidden);
      expect(judge({ "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate" }, options)).toThrow(Forbidden);
      expect(judge({ origin: "https://evil.example.com" }, options)).toThrow(Forbidden);
      expect(judge({ "sec-fetch-site": "same-site" }, { ...options, cookie: false })).not.toThrow();
    },
  );

  it("judges login and logout without a cookie too", () => {
    expect(judge({ "sec-fetch-site": "cross-site" }, { cookie: false, always: true })).toThrow(Forbidden);
  });
});

describe("the client address", () => {
  const address = new ClientAddress(["10.0.0.0/8", "192.0.2.1", "fd00::/8"]);

  it.each([
    ["203.0.113.9", "1.2.3.4", "203.0.113.9", "a stranger's header is not believed"],
    ["10.1.1.1", "1.2.3.4", "1.2.3.4", "a trusted proxy's is"],
    ["10.1.1.1", "6.6.6.6, 1.2.3.4, 10.2.2.2", "1.2.3.4", "trusted hops are walked past, from the right"],
    ["10.1.1.1", "1.2.3.4, nonsense", "10.1.1.1", "an entry that is no address ends the walk"],
    ["10.1.1.1", null, "10.1.1.1", "without a header the proxy itself"],
    ["::ffff:10.1.1.1", "1.2.3.4", "1.2.3.4", "a mapped address is an IPv4 address"],
    ["192.0.2.1", " , 2001:db8::1", "2001:db8::1", "IPv6 behind a single trusted address"],
    ["fe80::1%eth0", "1.2.3.4", "fe80::1", "a link-local peer comes with its interface"],
    ["192.0.2.2", "1.2.3.4", "192.0.2.2", "its neighbour is not trusted"],
  ])("of %s with %s is %s: %s", (peer, forwarded, expected, _because) => {
    expect(address.of(peer, forwarded)).toBe(expected);
  });

  it.each([
    ["203.0.113.9", "203.0.113.9"],
    ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
    ["2001:DB8:1:2::9", "2001:db8:1:2::/64"],
    ["2001:db8::1", "2001:db8::/64"],
    ["::1", "::/64"],
    ["::ffff:203.0.113.9", "203.0.113.9"],
  ])("%s counts as %s", (ip, key) => {
    expect(limitKeyOf(ip)).toBe(key);
  });
});

describe("the presented token", () => {
  it.each([
    [{ authorization: "Bearer t", cookie: "av_session=c" }, { token: "t", from: "bearer" }, "bearer hides the cookie"],
    [{ authorization: "Bearer  t" }, { token: " t", from: "bearer" }, "two blanks make another token"],
    [{ authorization: "Bearer ", cookie: "av_session=c" }, { token: "c", from: "cookie" }, "a bare scheme is absent"],
    [{ authorization: "bearer t" }, undefined, "the scheme is case-sensitive"],
    [{ authorization: "Basic x", cookie: "a=b; av_session=c" }, { token: "c", from: "cookie" }, "another scheme"],
    [{ cookie: "av_session=" }, undefined, "an empty cookie"],
    [{ cookie: "xav_session=c" }, undefined, "another cookie"],
    [{}, undefined, "nothing"],
    [{ cookie: "av_session=c; a=b; av_session=planted" }, undefined, "two sessions, one of them planted"],
    [{ cookie: "av_session=c; av_session=c" }, { token: "c", from: "cookie" }, "the same one twice"],
  ])("of %j is %j: %s", (headers, expected, _because) => {
    const cookie = new SessionCookie({ baseUrl: "http://127.0.0.1:14321" });
    expect(cookie.presented(new Headers(headers as Record<string, string>))).toEqual(expected);
  });

  it.each([
    [{ cookie: "__Host-av_session=own" }, "own", "the name that no other host can set"],
    [{ cookie: "av_session=planted; __Host-av_session=own" }, "own", "beside one that a sibling subdomain planted"],
    [{ cookie: "av_session=planted", "sec-fetch-site": "same-origin" }, undefined, "a planted one alone in a browser"],
    [{ cookie: "av_session=written" }, "written", "a client that writes the known name by hand"],
  ])("behind TLS, of %j, is %j: %s", (headers, token, _because) => {
    const cookie = new SessionCookie({ baseUrl });
    expect(cookie.presented(new Headers(headers as Record<string, string>))?.token).toBe(token);
  });

  it("is set in a cookie that scripts cannot read and other sites do not send", () => {
    const attributes = "Max-Age=31536000; Path=/; HttpOnly; SameSite=Strict; Secure";
    const gone = "Max-Age=0; Path=/; HttpOnly; SameSite=Strict";
    const program = new Headers();
    const browser = new Headers({ "sec-fetch-site": "same-origin" });
    const [plain, secure] = [new SessionCookie({ baseUrl: "http://x" }), new SessionCookie({ baseUrl })];
    expect(secure.set("t", program)).toEqual([`av_session=t; ${attributes}`]);
    expect(secure.set("t", browser)).toEqual([`av_session=t; ${attributes}`, `__Host-av_session=t; ${attributes}`]);
    expect(plain.clear(browser)).toEqual([`av_session=; ${gone}`]);
    expect(secure.clear(browser)).toEqual([`av_session=; ${gone}; Secure`, `__Host-av_session=; ${gone}; Secure`]);
  });
});

describe("the security headers", () => {
  it("let nothing be framed, sniffed, referred to or embedded, and ask for TLS only where there is TLS", () => {
    const headers = securityHeaders(baseUrl);
    expect(headers["content-security-policy"]).toContain("frame-ancestors 'none'");
    expect(headers["content-security-policy"]).toContain("base-uri 'none'");
    expect(headers["cross-origin-resource-policy"]).toBe("same-origin");
    expect(headers["strict-transport-security"]).toBeDefined();
    expect(securityHeaders("http://localhost")["strict-transport-security"]).toBeUndefined();
  });
});
