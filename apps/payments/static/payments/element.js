/*
 * Stripe's own form for a card, within <form data-stripe-key="pk_…" data-amount="1250" data-currency="usd">.
 *
 * What is typed there goes to Stripe alone. Stripe gives a confirmation token for it, which stands for the card once;
 * the form sends that in its hidden field `card`, the way a test card is sent.
 */
"use strict";

(() => {
  const NOT_LOADED =
    "The payment provider's form could not be loaded. Nothing was charged. Please reload this page, and let it load js.stripe.com.";

  const give = async (stripe, elements) => {
    const checked = await elements.submit();
    if (checked.error) {
      return checked;
    }
    return stripe.createConfirmationToken({ elements });
  };

  const mount = (form) => {
    form.dataset.mounted = "yes";
    const button = form.querySelector("[type=submit]");
    const told = form.querySelector("[data-told]");
    const place = form.querySelector("[data-card]");

    const tell = (message) => {
      told.textContent = message;
      told.hidden = !message;
    };
    const wait = (waits) => {
      button.disabled = waits;
      button.setAttribute("aria-busy", waits);
    };

    const giveUp = () => {
      place.hidden = true;
      tell(NOT_LOADED);
    };

    if (!window.Stripe) {
      giveUp();
      return;
    }
    const stripe = window.Stripe(form.dataset.stripeKey);
    const elements = stripe.elements({
      mode: "payment",
      amount: Number(form.dataset.amount),
      currency: form.dataset.currency,
      allowedPaymentMethodTypes: ["card"],
      appearance: { theme: matchMedia("(prefers-color-scheme: dark)").matches ? "night" : "stripe" },
    });
    const card = elements.create("payment");
    card.on("ready", () => wait(false));
    card.on("loaderror", giveUp);
    card.mount(place);

    form.addEventListener("submit", async (event) => {
      if (form.elements.card.value) {
        return;
      }
      event.preventDefault();
      if (button.disabled) {
        return;
      }
      wait(true);
      tell("");
      try {
        const { error, confirmationToken } = await give(stripe, elements);
        if (confirmationToken) {
          form.elements.card.value = confirmationToken.id;
          form.requestSubmit();
          return;
        }
        tell(error.message);
      } catch {
        tell("The payment provider could not be reached. Nothing was charged. Please try again.");
      }
      wait(false);
    });

    /* A page that comes back from the browser's memory needs another token. */
    addEventListener("pageshow", (event) => {
      if (event.persisted) {
        form.elements.card.value = "";
        wait(false);
      }
    });
  };

  const mountAll = () => {
    document.querySelectorAll("form[data-stripe-key]:not([data-mounted])").forEach(mount);
  };

  mountAll();
  /* The form may come later, when the order has become payable. */
  new MutationObserver(mountAll).observe(document.body, { childList: true, subtree: true });
})();
