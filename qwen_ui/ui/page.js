// What the page does in the browser beyond Gradio: copying plain text, editing, the panel.
(() => {
  const ASKED = '<div class="asked">';
  const BADGE = /\n*<div class="(badge|waiting|failure|why)[^]*?<\/div>/g;

  // A question is copied as typed, an answer without its badge.
  const plain = (text) => {
    if (text.startsWith(ASKED)) {
      const page = new DOMParser().parseFromString(text, "text/html");
      return page.querySelector(".question").textContent;
    }
    return text.replace(BADGE, "");
  };
  if (navigator.clipboard) {
    const write = navigator.clipboard.writeText.bind(navigator.clipboard);
    navigator.clipboard.writeText = (text) => write(plain(text));
  }

  const press = (id) => document.querySelector(`#${id}`)?.click();

  // The pencil puts the question back into the box instead of opening Gradio's own editor, which
  // would show the question's markup.
  const on_click = (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.closest("#chat .message-buttons-right")?.contains(button) && is_pencil(button)) {
      event.stopImmediatePropagation();
      const rows = [...document.querySelectorAll("#chat .user-row")];
      const row = button.closest(".message-buttons-right").previousElementSibling;
      window.qwen_ui.edited = rows.indexOf(row);
      press("edit-question");
    } else if (event_of(button)) {
      window.qwen_ui.pressed = button.value;
      press(event_of(button));
    } else if (button.id === "panel-button") {
      toggle_panel();
    }
  };
  // Buttons in what the server wrote, by their class: what they press, with their value.
  const EVENTS = {
    "cancel-edit": "cancel-edit",
    "ask-model": "ask-model",
    suggestion: "ask-suggested",
    why: "explain-miss",
  };
  const event_of = (button) => EVENTS[[...button.classList].find((name) => name in EVENTS)];
  const is_pencil = (button) => button.querySelector("svg") && !button.matches("[aria-label*=opy]");
  document.addEventListener("click", on_click, true);

  const panel_is_open = () => {
    const chosen = document.body.dataset.panel;
    return chosen ? chosen === "open" : window.innerWidth >= 1100;
  };
  const toggle_panel = () => {
    document.body.dataset.panel = panel_is_open() ? "closed" : "open";
    press("watch-cache");
  };
  document.addEventListener("visibilitychange", () => press("watch-cache"));

  // The box is emptied as soon as its content is on its way; what is refused comes back.
  let sent = {text: "", files: []};
  let ours = null; // what the page, not the visitor, has put into the box
  const send = (box) => {
    sent = box;
    // a turn later: drawing the empty box is not to hold up the request
    setTimeout(() => press("empty-box"), 0);
    return box;
  };
  const empty = () => {
    setTimeout(() => document.querySelector("#box textarea")?.focus(), 0);
    ours = {text: "", files: []};
    return ours;
  };
  let refusals = 0;
  const obey = (box, order) => {
    refusals += 1;
    const kept = (files) => files.filter((file) => !order.refused.includes(file.path));
    const typed = [sent.text, box.text].filter((part) => part).join("\n");
    ours = order.give_back
      ? {text: typed, files: [...kept(sent.files), ...box.files]}
      : {...box, files: kept(box.files)};
    return ours;
  };

  // What is beside the chat is drawn anew as a whole: who came to a button there by the keyboard
  // finds it again, or is back in the box.
  let reached = null;
  document.addEventListener("focusin", ({target}) => {
    reached = target.matches("#told button:focus-visible") ? target : null;
  });
  const refocus = () => {
    if (!reached || reached.isConnected || document.activeElement !== document.body) return;
    const same = document.querySelector(`#told button[value="${CSS.escape(reached.value)}"]`);
    (same ?? document.querySelector("#box textarea"))?.focus();
  };

  // What comes up above the box is not to cover the end of the chat.
  const uncover = () => {
    const chat = document.querySelector("#chat .bubble-wrap");
    if (chat && chat.scrollHeight - chat.scrollTop - chat.clientHeight < 120) {
      chat.scrollTop = chat.scrollHeight;
    }
  };

  // What the server tells beside the chat: an order is obeyed once, a ticket begins an answer.
  let obeyed = "";
  let ticket = 0;
  const heed = (told, box) => {
    setTimeout(() => { refocus(); uncover(); }, 0);
    const page = new DOMParser().parseFromString(told, "text/html");
    const {order = "", ticket: latest} = page.querySelector(".told").dataset;
    const fresh = order !== "" && order !== obeyed;
    obeyed = order;
    ticket = Math.max(ticket, Number(latest));
    return [fresh ? obey(box, JSON.parse(order)) : undefined, ticket];
  };

  // What files there are. After a refusal whatever the visitor does next counts as a change: it
  // ends the notice, and the same file is looked at again.
  let known = "";
  const paths = (box) => (box?.files ?? []).map((file) => file.path).join("\n");
  const files = (box) => {
    if (ours && box.text === ours.text && paths(box) === paths(ours)) return known;
    ours = null;
    known = [refusals || "", paths(box)].filter((part) => part).join("\n");
    return known;
  };

  window.qwen_ui = {
    edited: -1,
    pressed: "",
    watching: () => panel_is_open() && !document.hidden,
    files,
    send,
    empty,
    heed,
  };
})();
