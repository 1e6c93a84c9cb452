// Sends the request that a form describes and shows the answer as text.
"use strict";

const SHOWN_HEADERS = ["content-type", "location", "retry-after", "etag", "allow"];

// Attributes by getAttribute: an input named "dataset" would stand in the way of form.dataset.
function requestOf(form) {
  const query = new URLSearchParams();
  const headers = {};
  let path = form.getAttribute("data-path");
  for (const input of form.querySelectorAll("input")) {
    if (input.dataset.in === "path") {
      path = path.replace(`{${input.name}}`, encodeURIComponent(input.value));
    } else if (input.value !== "" && input.dataset.in === "query") {
      query.append(input.name, input.value);
    } else if (input.value !== "") {
      headers[input.name] = input.value;
    }
  }
  const method = form.getAttribute("data-method");
  const token = document.getElementById("token")?.value.trim();
  if (token) headers.Authorization = `Bearer ${token}`;
  // Without a token, what only reads is asked with the login of this browser.
  const options = { method, headers, cache: "no-store", credentials: token ? "omit" : "same-origin" };
  if (method === "POST" || method === "PATCH" || method === "PUT") {
    headers["Content-Type"] = "application/json";
    options.body = form.elements.body?.value ?? "";
  }
  const parameters = query.toString();
  return [parameters ? `${path}?${parameters}` : path, options];
}

function readable(text, type) {
  if (!type.includes("json")) return text;
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

async function send(form) {
  const output = form.querySelector("output");
  const [address, options] = requestOf(form);
  output.hidden = false;
  output.textContent = `${options.method} ${address} …`;
  try {
    const response = await fetch(address, options);
    const head = SHOWN_HEADERS.filter((name) => response.headers.has(name)).map(
      (name) => `${name}: ${response.headers.get(name)}`,
    );
    const body = readable(await response.text(), response.headers.get("content-type") ?? "");
    output.textContent = [`${response.status} ${response.statusText}`, ...head, "", body].join("\n");
  } catch (error) {
    output.textContent = `${options.method} ${address}\nno answer: ${error.message}`;
  }
}

for (const form of document.querySelectorAll("form.try")) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(form);
  });
}

// An address such as /api/docs#submit_evaluation opens what it names.
function openTarget() {
  const target = location.hash ? document.getElementById(decodeURIComponent(location.hash.slice(1))) : null;
  if (target instanceof HTMLDetailsElement) target.open = true;
}
window.addEventListener("hashchange", openTarget);
openTarget();
