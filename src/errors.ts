/** What every error of this library carries beside its message. */
export interface ErrorDetails {
  /** The argument, field or file at fault, e.g. `"layers[2].kernel"`. */
  argument?: string;
  /** The value that was given, as far as it can be shown. */
  value?: unknown;
  /** What would be valid. */
  expected?: string;
  /** The error underneath, if any. */
  cause?: unknown;
}

/**
 * Base class of every error that spikegrad throws on purpose. `code` is stable and machine-readable;
 * the message names the argument, the value and what would be valid.
 */
export class SpikegradError extends Error {
  override readonly name: string = "SpikegradError";
  /** `ERR_` and the kind of error, e.g. `"ERR_ARGUMENT"`. */
  readonly code: string;
  /** The argument, field or file at fault, e.g. `"layers[2].kernel"`, where there is one. */
  readonly argument: string | undefined;
  /** The value that was given, where there is one. */
  readonly value: unknown;
  /** What would be valid, where that can be said. */
  readonly expected: string | undefined;

  /**
   * Made by this library.
   *
   * @param code stable and machine-readable
   * @param message for people
   * @param details argument, value, what was expected, cause
   */
  constructor(code: string, message: string, details: ErrorDetails = {}) {
    super(visible(message), details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.argument = details.argument;
    this.value = details.value;
    this.expected = details.expected;
  }
}

/** An argument is of the wrong type, shape or range. */
export class ArgumentError extends SpikegradError {
  override readonly name = "ArgumentError";
  /**
   * Made by this library, with the code `ERR_ARGUMENT`.
   *
   * @param argument what is at fault
   * @param value what was found
   * @param expected what would be valid
   * @param details the cause
   */
  constructor(argument: string, value: unknown, expected: string, details: ErrorDetails = {}) {
    super("ERR_ARGUMENT", `${argument}: got ${show(value)}; expected ${expected}`, {
      ...details,
      argument,
      value,
      expected,
    });
  }
}

/** A file or byte buffer is not what it should be: truncated, oversized, foreign or inconsistent. */
export class FormatError extends SpikegradError {
  override readonly name = "FormatError";
  /**
   * Made by this library, with the code `ERR_FORMAT`.
   *
   * @param argument what is at fault
   * @param value what was found
   * @param expected what would be valid
   * @param details the cause
   */
  constructor(argument: string, value: unknown, expected: string, details: ErrorDetails = {}) {
    super("ERR_FORMAT", `${argument}: found ${show(value)}; expected ${expected}`, {
      ...details,
      argument,
      value,
      expected,
    });
  }
}

/** Something that must be there (a file, a data package, a runtime feature) is missing. */
export class MissingError extends SpikegradError {
  override readonly name = "MissingError";
  /**
   * Made by this library, with the code `ERR_MISSING`.
   *
   * @param argument what is at fault
   * @param message what happened, and what to do
   * @param details value and cause
   */
  constructor(argument: string, message: string, details: ErrorDetails = {}) {
    super("ERR_MISSING", message, { ...details, argument });
  }
}

/** A file could not be read or written (exists already, disk full, no permission, …). */
export class FileError extends SpikegradError {
  override readonly name = "FileError";
  /**
   * Made by this library, with the code `ERR_FILE`.
   *
   * @param argument what is at fault
   * @param message what happened, and what to do
   * @param details value and cause
   */
  constructor(argument: string, message: string, details: ErrorDetails = {}) {
    super("ERR_FILE", message, { ...details, argument });
  }
}

/** The memory that a network needs cannot be had; the message names the bytes. */
export class MemoryError extends SpikegradError {
  override readonly name = "MemoryError";
  /** How many bytes were needed. */
  readonly bytes: number;
  /**
   * Made by this library, with the code `ERR_MEMORY`.
   *
   * @param bytes how many were needed
   * @param message what for
   * @param details the cause
   */
  constructor(bytes: number, message: string, details: ErrorDetails = {}) {
    super("ERR_MEMORY", message, { ...details, value: bytes });
    this.bytes = bytes;
  }
}

/** The object is in no state to do this: disposed, or training already. */
export class StateError extends SpikegradError {
  override readonly name = "StateError";
  /**
   * Made by this library, with the code `ERR_STATE`.
   *
   * @param message what happened, and what to do
   * @param details value and cause
   */
  constructor(message: string, details: ErrorDetails = {}) {
    super("ERR_STATE", message, details);
  }
}

/** A worker could not be started, ended, or failed while it computed. */
export class WorkerError extends SpikegradError {
  override readonly name = "WorkerError";

  /**
   * Made by this library, with the code `ERR_WORKER`.
   *
   * @param message what happened
   * @param details cause
   */
  constructor(message: string, details: ErrorDetails = {}) {
    super("ERR_WORKER", message, details);
  }
}

/** A NaN or an infinity arose where only finite numbers may be. */
export class NonFiniteError extends SpikegradError {
  override readonly name = "NonFiniteError";
  /**
   * Made by this library, with the code `ERR_NON_FINITE`.
   *
   * @param message what happened, and what to do
   * @param details value and cause
   */
  constructor(message: string, details: ErrorDetails = {}) {
    super("ERR_NON_FINITE", message, details);
  }
}

const SHOWN_LENGTH = 80;
const UNSEEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/gu;

/** Text without what could move a terminal's cursor, colour it or turn its direction: names may come from a hostile file. */
export function visible(text: string): string {
  return text.replace(UNSEEN, "?");
}

/** A short, terminal-safe rendering of any value for an error message. */
export function show(value: unknown): string {
  let text: string;
  if (typeof value === "string") text = JSON.stringify(value);
  else if (typeof value === "bigint") text = `${value}n`;
  else if (typeof value === "function") text = "a function";
  else if (ArrayBuffer.isView(value)) text = `${value.constructor.name} of ${value.byteLength} bytes`;
  else if (typeof value === "object" && value !== null) {
    try {
      text = JSON.stringify(value) ?? String(value);
      // What has nothing to show says what it is.
      if (text === "{}") text = Object.prototype.toString.call(value).replace("[object Object]", "{}");
    } catch {
      text = Object.prototype.toString.call(value);
    }
  } else text = Object.is(value, -0) ? "-0" : String(value);
  text = visible(text);
  return text.length > SHOWN_LENGTH ? `${text.slice(0, SHOWN_LENGTH)}…` : text;
}
