// Takes the place of threads.ts under the conditions workerd and edge-light, where there are no workers.
import { MissingError } from "../../errors.ts";
import type { CoreSource } from "./inlined.ts";

export const threadsCore: CoreSource = {
  usable: () => false,
  load: () => {
    throw new MissingError("threads", "this runtime has no workers");
  },
};
