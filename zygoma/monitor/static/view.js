// The second display: large and without anything to press.

import { FacePanel } from "./face.js";
import { HealthPanel } from "./health.js";
import { Live, prepare } from "./live.js";
import { MusclesPanel } from "./muscles.js";
import "./theme.js";
import { ValencePanel } from "./valence.js";

const { store, anatomy } = await prepare();
new Live(store, {
  face: new FacePanel(anatomy),
  muscles: new MusclesPanel(),
  valence: new ValencePanel(),
  health: new HealthPanel(),
});
