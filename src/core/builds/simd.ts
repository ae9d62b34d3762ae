export { default } from "../../../dist/spikegrad.wasm";
