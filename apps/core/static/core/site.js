/*
 * Comforts only: every page does its work without this file.
 *
 * <time class="countdown" data-deadline="ms" data-now="ms">   counts down; at zero it refreshes its region
 * <section id="order" data-refresh-url="/orders/1/" data-refresh-until="complete cancelled" data-state="created">
 *     fetches the page and shows the section of the same id from it, until its data-state is one of those listed
 * <form>   is sent once, however often its button is pressed
 */
"use strict";

(() => {
  const SOON_MS = 120_000;
  const FIRST_WAIT_MS = 1_000;
  const LONGEST_WAIT_MS = 8_000;

  /* How far this computer's clock is ahead of the server's. */
  const ahead = new WeakMap();

  const left = (element) => {
    if (!ahead.has(element)) {
      ahead.set(element, element.dataset.now ? Date.now() - Number(element.dataset.now) : 0);
    }
    return Number(element.dataset.deadline) - (Date.now() - ahead.get(element));
  };

  const two = (number) => String(number).padStart(2, "0");

  const say = (ms) => {
    const seconds = Math.ceil(ms / 1000);
    const hours = Math.floor(seconds / 3600);
    const minutes = Math.floor(seconds / 60) % 60;
    return hours > 0
      ? `${hours}:${two(minutes)}:${two(seconds % 60)} left`
      : `${minutes}:${two(seconds % 60)} left`;
  };

  const show = (text, element) => {
    if (element.textContent !== text) {
      element.textContent = text;
    }
  };

  const tick = () => {
    for (const element of document.querySelectorAll("[data-deadline]")) {
      const ms = left(element);
      element.title ||= element.textContent;
      element.classList.toggle("countdown--soon", ms < SOON_MS);
      show(ms > 0 ? say(ms) : "time is up", element);
      if (ms <= 0 && !element.dataset.over) {
        element.dataset.over = "yes";
        refreshNow(element.closest("[data-refresh-url]"));
      }
    }
  };

  const waits = new Map();

  const isSettled = (region) =>
    (region.dataset.refreshUntil ?? "").split(/[\s,]+/).includes(region.dataset.state ?? "");

  const refresh = async (region) => {
    const answer = await fetch(region.dataset.refreshUrl, {
      credentials: "same-origin",
      headers: { Accept: "text/html" },
    });
    if (!answer.ok || answer.redirected) {
      return region;
    }
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.getElementById(region.id);
    if (!fresh) {
      return region;
    }
    const busy = region.contains(document.activeElement) && document.activeElement !== region;
    if (busy && fresh.dataset.state === region.dataset.state) {
      return region;
    }
    region.replaceWith(fresh);
    tick();
    return fresh;
  };

  const follow = (region, wait) => {
    if (isSettled(region)) {
      return;
    }
    const timer = setTimeout(async () => {
      let next = region;
      if (!document.hidden) {
        try {
          next = await refresh(region);
        } catch {
          /* The network is away; the next round tries again. */
        }
      }
      if (next.isConnected) {
        const changed = next !== region && next.dataset.state !== region.dataset.state;
        follow(next, changed ? FIRST_WAIT_MS : Math.min(wait * 1.3, LONGEST_WAIT_MS));
      }
    }, wait);
    waits.set(region.id, timer);
  };

  const refreshNow = (region) => {
    if (region) {
      clearTimeout(waits.get(region.id));
      follow(region, FIRST_WAIT_MS);
    }
  };

  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (event.defaultPrevented || form.method !== "post") {
      return;
    }
    if (form.dataset.sent) {
      event.preventDefault();
      return;
    }
    form.dataset.sent = "yes";
    event.submitter?.setAttribute("aria-busy", "true");
  });

  /* A page that comes back from the browser's memory may be sent again. */
  addEventListener("pageshow", () => {
    for (const form of document.querySelectorAll("form[data-sent]")) {
      delete form.dataset.sent;
      form.querySelector("[aria-busy]")?.removeAttribute("aria-busy");
    }
  });

  for (const region of document.querySelectorAll("[data-refresh-url]")) {
    follow(region, FIRST_WAIT_MS);
  }
  tick();
  setInterval(tick, 1_000);
})();
