export { default } from "../../../dist/spikegrad.scalar.wasm";
