import { FormatError } from "../errors.ts";

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const MINUS = 0x2d;
const DEEPEST = 64;
const EXCERPT = 40;

/** What the next value of a JSON text is, from its first character. */
export type JsonKind = "object" | "array" | "string" | "number" | "literal";

/**
 * A cursor over a JSON text (RFC 8259) that builds nothing on its own: the caller takes the values that it
 * expects and skips the rest. Unlike `JSON.parse` it shows every key, also one that comes twice, gives
 * numbers as they are written (`1.0`, `-0` and 2^53 + 1 stay apart from 1, 0 and 2^53), and needs no memory
 * for what is skipped, however hostile.
 */
export class JsonReader {
  private position = 0;
  private depth = 0;

  /**
   * @param text the JSON text
   * @param argument what to call it in errors
   */
  constructor(
    private readonly text: string,
    private readonly argument: string,
  ) {}

  /** The kind of the value that comes next. */
  peek(): JsonKind {
    this.space();
    const code = this.text.charCodeAt(this.position);
    if (code === 0x7b) return "object";
    if (code === 0x5b) return "array";
    if (code === QUOTE) return "string";
    if (code === MINUS || isDigit(code)) return "number";
    if (code === 0x74 || code === 0x66 || code === 0x6e) return "literal";
    return this.fail("a JSON value");
  }

  /** Takes an object; `member` is called at each value with its key and must take or skip that value. */
  object(member: (key: string) => void): void {
    this.enter("{");
    if (!this.accept("}")) {
      do {
        this.space();
        const key = this.string();
        this.expect(":");
        member(key);
      } while (this.accept(","));
      this.expect("}");
    }
    this.depth--;
  }

  /** Takes an array; `element` is called at each value with its index and must take or skip that value. */
  array(element: (index: number) => void): void {
    this.enter("[");
    if (!this.accept("]")) {
      let index = 0;
      do element(index++);
      while (this.accept(","));
      this.expect("]");
    }
    this.depth--;
  }

  /** Takes a string and gives its value. Half of a surrogate pair, escaped or not, is refused. */
  string(): string {
    this.space();
    const start = this.position;
    this.skipString();
    const raw = this.text.slice(start, this.position);
    // The token is well-formed by now, so JSON.parse only resolves its escapes.
    const value = raw.includes("\\") ? (JSON.parse(raw) as string) : raw.slice(1, -1);
    if (/\p{Surrogate}/u.test(value)) {
      this.position = start;
      this.fail("a string without unpaired surrogates");
    }
    return value;
  }

  /** Takes a number and gives it as it is written. */
  number(): string {
    this.space();
    const start = this.position;
    if (this.text.charCodeAt(this.position) === MINUS) this.position++;
    if (this.text.charCodeAt(this.position) === 0x30) this.position++;
    else this.digits();
    if (this.text[this.position] === ".") {
      this.position++;
      this.digits();
    }
    if (this.text[this.position] === "e" || this.text[this.position] === "E") {
      this.position++;
      if (this.text[this.position] === "+" || this.text[this.position] === "-") this.position++;
      this.digits();
    }
    return this.text.slice(start, this.position);
  }

  /** Passes over the next value, whatever it is, and gives the beginning of its text. */
  skip(): string {
    const kind = this.peek();
    const start = this.position;
    if (kind === "object") this.object(() => this.skip());
    else if (kind === "array") this.array(() => this.skip());
    else if (kind === "string") this.skipString();
    else if (kind === "number") this.number();
    else {
      const word = ["true", "false", "null"].find((each) => this.text.startsWith(each, start));
      if (word === undefined) this.fail("true, false or null");
      else this.position += word.length;
    }
    return this.text.slice(start, Math.min(this.position, start + EXCERPT));
  }

  /** Refuses anything but white space after the value that was taken last. */
  end(): void {
    this.space();
    if (this.position < this.text.length) this.fail("nothing after the value");
  }

  /** Passes over the next value and gives it as an error message would show it. */
  shown(): unknown {
    const text = this.skip();
    return String(Number(text)) === text ? Number(text) : text;
  }

  private fail(expected: string): never {
    const found = this.text.slice(this.position, this.position + EXCERPT);
    throw new FormatError(this.argument, found, `${expected} at character ${this.position} of its JSON`);
  }

  private space(): void {
    for (;;) {
      const code = this.text.charCodeAt(this.position);
      if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return;
      this.position++;
    }
  }

  private accept(character: string): boolean {
    this.space();
    if (this.text[this.position] !== character) return false;
    this.position++;
    return true;
  }

  private expect(character: string): void {
    if (!this.accept(character)) this.fail(`"${character}"`);
  }

  private enter(character: string): void {
    if (this.depth === DEEPEST) this.fail(`at most ${DEEPEST} nested levels`);
    this.expect(character);
    this.depth++;
  }

  private digits(): void {
    const start = this.position;
    while (isDigit(this.text.charCodeAt(this.position))) this.position++;
    if (this.position === start) this.fail("a digit");
  }

  private skipString(): void {
    if (this.text.charCodeAt(this.position) !== QUOTE) this.fail("a string");
    this.position++;
    for (;;) {
      const code = this.text.charCodeAt(this.position);
      if (code === QUOTE) break;
      if (code === BACKSLASH) this.skipEscape();
      else if (code >= 0x20) this.position++;
      else
        this.fail(this.position < this.text.length ? "no control character in a string" : "the string's end");
    }
    this.position++;
  }

  private skipEscape(): void {
    const length = this.text[this.position + 1] === "u" ? 6 : 2;
    const sequence = this.text.slice(this.position, this.position + length);
    if (!/^\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})$/.test(sequence)) this.fail("a JSON escape");
    this.position += length;
  }
}

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39;
}
