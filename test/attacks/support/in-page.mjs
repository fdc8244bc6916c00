// What the scripts of a page do. These functions are sent into a browser and run there: each stands for itself. Plain
// JavaScript, because they see a document, which nothing else here does.

/**
 * A form that is submitted, as a page can do it without any script of its own.
 * @param {{ url: string, enctype: string, name: string, value: string }} form
 */
export function submitForm({ url, enctype, name, value }) {
  const form = document.createElement("form");
  form.method = "post";
  form.action = url;
  form.enctype = enctype;
  const field = document.createElement("input");
  field.name = name;
  field.value = value;
  form.append(field);
  document.body.append(form);
  // Afterwards: the call that brought this function here must not wait for a page that is gone.
  setTimeout(() => form.submit(), 0);
}

/**
 * Goes there, as a link would.
 * @param {string} url
 */
export function follow(url) {
  setTimeout(() => {
    location.href = url;
  }, 0);
}

/**
 * A request whose answer the page does not get to see, with the cookies of the one who looks at the page.
 * @param {{ url: string, type: string, body: string }} request `type` may be empty: no content type at all
 * @returns {Promise<string>} what the browser said of it
 */
export async function sendBlind({ url, type, body }) {
  const content = new Blob([body], { type });
  const sent = fetch(url, { method: "POST", mode: "no-cors", credentials: "include", body: content });
  return await sent.then(
    (answer) => answer.type,
    (error) => String(error),
  );
}

/**
 * What is left to the browser to send when the page goes.
 * @param {{ url: string, type: string, body: string }} request
 * @returns {boolean} whether the browser took it
 */
export function sendBeacon({ url, type, body }) {
  return navigator.sendBeacon(url, new Blob([body], { type }));
}

/**
 * A request whose answer the page wants to read.
 * @param {{ url: string, method?: string, type?: string, body?: string, headers?: Record<string, string> }} request
 * @returns {Promise<{ status: number, text: string } | { refused: string }>}
 */
export async function ask({ url, method = "GET", type, body, headers = {} }) {
  const more = type === undefined ? {} : { "content-type": type };
  const sent = fetch(url, { method, credentials: "include", headers: { ...headers, ...more }, body });
  return await sent.then(
    async (answer) => ({ status: answer.status, text: await answer.text() }),
    (error) => ({ refused: String(error) }),
  );
}

/**
 * Loads an address as a part of the page.
 * @param {{ url: string, as: "img" | "script" | "iframe" | "link" | "object" | "embed" }} part
 * @returns {Promise<string>} `load` or `error`, as the page is told
 */
export function load({ url, as }) {
  return new Promise((resolve) => {
    const element = document.createElement(as);
    element.addEventListener("load", () => resolve("load"));
    element.addEventListener("error", () => resolve("error"));
    if (as === "link") {
      element.rel = "stylesheet";
      element.href = url;
    } else if (as === "object") element.data = url;
    else element.src = url;
    document.body.append(element);
  });
}

/**
 * Adds a script to the page, as a hole in it would.
 * @param {string} text
 * @returns {unknown} `window.pwned` afterwards
 */
export function addInlineScript(text) {
  const element = document.createElement("script");
  element.textContent = text;
  document.body.append(element);
  return window.pwned;
}
