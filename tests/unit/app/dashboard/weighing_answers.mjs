// One JSON of [name of a function of weighing.js, ...arguments] a line -> one JSON of its answer a line.
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const functions = await import(pathToFileURL(process.argv[2]).href);

for await (const line of createInterface({ input: process.stdin })) {
  const [name, ...values] = JSON.parse(line);
  console.log(JSON.stringify(functions[name](...values)));
}
