// Answers one question a line: {path of contenders.js as argument} {table: base64, asked: [[weights, k, rule], ...]} -> [[wrong images, count], ...]
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const { Contenders } = await import(pathToFileURL(process.argv[2]).href);

for await (const line of createInterface({ input: process.stdin })) {
  const { table, asked } = JSON.parse(line);
  const bytes = Buffer.from(table, "base64");
  try {
    const parsed = Contenders.parse(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
    const answers = asked.map((question) => [Array.from(parsed.wrong(...question)), parsed.errorCount(...question)]);
    console.log(JSON.stringify({ answers }));
  } catch (error) {
    console.log(JSON.stringify({ error: error.message }));
  }
}
