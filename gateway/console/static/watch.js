// The page of a live session: its transcript grows as the gateway streams it, one moment per line.

const list = document.getElementById("transcript");
const state = document.getElementById("state");
const problem = document.getElementById("problem");
const most = 2000; // moments on the page; older ones are in the recording

let last = null; // the moment that text of the same kind goes on in

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

function show(moment) {
  const text = moment.text || "";
  if (last && text && !moment.head && last.class === moment.class && last.pre.textContent.length < 16384) {
    last.pre.append(text);
    return;
  }
  const item = element("li", moment.class);
  item.append(element("span", "at", moment.at));
  const body = element("div");
  if (moment.head) {
    const head = element("div");
    if (moment.tag && moment.word) head.append(element("span", "tag", moment.word), " ");
    if (moment.channel) head.append(element("span", "what", "#" + moment.channel + " "));
    head.append(element("code", "", moment.head));
    body.append(head);
  } else if (moment.word) {
    body.append(element("div", "what", moment.word));
  }
  for (const reason of moment.reasons || []) body.append(element("div", "small", reason));
  if (moment.note) body.append(element("div", "what", moment.note));
  const pre = element("pre", "", text);
  if (text) body.append(pre);
  item.append(body);
  list.append(item);
  while (list.children.length > most) list.firstElementChild.remove();
  last = text && !moment.head ? { class: moment.class, pre } : null;
}

// atEnd says whether the reader looks at the end, where new moments appear.
function atEnd() {
  return window.innerHeight + window.scrollY >= document.documentElement.scrollHeight - 40;
}

function become(name, good) {
  state.textContent = state.dataset[name];
  state.className = good ? "tag good live" : "tag";
}

async function watch() {
  const answer = await fetch(list.dataset.stream, { headers: { Accept: "application/x-ndjson" } });
  if (!answer.ok) {
    const told = await answer.json().catch(() => ({}));
    throw new Error(told.detail || told.title || answer.statusText);
  }
  become("live", true);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let ended = false;
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return ended;
    const follow = atEnd();
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (!line) continue;
      const moment = JSON.parse(line);
      ended = ended || moment.class === "end";
      show(moment);
    }
    if (follow) window.scrollTo(0, document.documentElement.scrollHeight);
  }
}

watch().then((ended) => become(ended ? "over" : "lost", false)).catch((error) => {
  become("lost", false);
  problem.textContent = error.message;
  problem.hidden = false;
});
