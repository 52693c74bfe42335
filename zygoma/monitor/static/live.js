// What both pages share: messages from the engine go into the store, and the newest picture onto the screen.

import { Link } from "./link.js";
import { Store } from "./store.js";

const CHARTS_HZ = 12;

export class Live {
  /**
   * @param panels {face, health, candidates?} and others, each with draw(store, time) if it follows the time.
   * @param time () => moment to show; null while live.
   */
  constructor(store, panels, heldTime = () => null) {
    this.store = store;
    this.panels = panels;
    this.heldTime = heldTime;
    this.chartsDue = 0;
    this.link = new Link((head, parts) => this.take(head, parts), (connected) => this.connected(connected));
    requestAnimationFrame(() => this.frame());
  }

  connected(connected) {
    document.body.classList.toggle("disconnected", !connected);
    if (!connected) this.panels.health.tell("No connection to zygoma. Trying again …");
  }

  take(head, parts) {
    const { store, panels } = this;
    switch (head.kind) {
      case "rows":
        store.addRows(head.rows, parts);
        break;
      case "picture":
        this.picture(head, parts);
        break;
      case "thermal":
        store.addThermal({ ...head, pixels: parts.pixels });
        break;
      case "layout":
        store.setLayout(head.streams);
        break;
      case "status":
        store.setClock(head.now);
        store.started = head.started;
        panels.health.update(head);
        break;
      case "greeting":
        // Comes first, whether the page is new or its connection was broken: nothing may be there twice.
        store.begin(head.events, head.markers);
        panels.candidates?.setAll(head.candidates);
        break;
      case "history":
        store.addRows(head.rows, parts);
        break;
      case "event":
        store.addEvent(head.event);
        if (head.listed) panels.candidates?.put(head.event);
        break;
      case "candidate":
        panels.candidates?.put(head.event);
        break;
      case "markers":
        store.addMarkers(head.markers);
        break;
      case "problem":
        panels.health.tell(head.sentence);
        break;
    }
  }

  /** A picture comes with its landmarks; its rows come at the latest with the next batch. */
  picture(head, parts) {
    const picture = { stamp: head.stamp, jpeg: parts.jpeg, points: parts.points };
    this.store.setClock(head.now);
    this.store.addPicture(picture);
    const report = () => this.link.drawn(head.stamp);
    if (this.heldTime() !== null) report();
    else this.panels.face.show(picture, this.store.series.get("ActionUnits"), () => requestAnimationFrame(report));
  }

  frame() {
    requestAnimationFrame(() => this.frame());
    const held = this.heldTime();
    const time = held ?? this.store.now();
    if (!Number.isFinite(time)) return;
    if (held !== null) this.panels.face.showAt(this.store, held);
    const now = performance.now();
    if (now < this.chartsDue) return;
    this.chartsDue = now + 1000 / CHARTS_HZ;
    for (const panel of Object.values(this.panels)) panel.draw?.(this.store, time);
    this.onFrame?.(this.store.now(), time);
  }
}

/** A store and the anatomy that the face is drawn with. */
export async function prepare() {
  const anatomy = await (await fetch("/api/anatomy")).json();
  return { store: new Store(), anatomy };
}
