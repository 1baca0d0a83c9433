// toxiproxy-node-client, unmodified: everything it can do, against the API and upstream of the command line.
const assert = require("node:assert");
const net = require("node:net");
const { Toxiproxy } = require("toxiproxy-node-client");

const [, , api, upstream] = process.argv;

function echo(listen) {
  const [host, port] = listen.split(":");
  const began = process.hrtime.bigint();
  return new Promise((resolve, reject) => {
    const line = net.connect(Number(port), host, () => line.write("hello"));
    line.on("data", () => {
      line.destroy();
      resolve(Number(process.hrtime.bigint() - began) / 1e6);
    });
    line.on("error", reject);
    line.on("close", () => reject(new Error("closed without an answer")));
  });
}

async function main() {
  const toxiproxy = new Toxiproxy(api);
  assert.match(String(await toxiproxy.getVersion()), /2\.12\.0/);
  assert.deepStrictEqual(await toxiproxy.populate([]), {});
  const populated = await toxiproxy.populate([{ name: "echo", listen: "127.0.0.1:0", upstream }]);
  assert.strictEqual(Object.keys(populated).length, 1);
  let proxy = await toxiproxy.get("echo");
  await assert.rejects(toxiproxy.createProxy({ name: "echo", listen: "127.0.0.1:0", upstream }));
  await echo(proxy.listen);
  const toxic = await proxy.addToxic({
    name: "slow", type: "latency", stream: "downstream", toxicity: 1, attributes: { latency: 200, jitter: 0 },
  });
  assert.ok((await echo(proxy.listen)) >= 199);
  const updated = await toxic.update({ toxicity: 1, attributes: { latency: 1, jitter: 0 } });
  assert.strictEqual(updated.attributes.latency, 1);
  assert.strictEqual((await proxy.getToxic("slow")).attributes.latency, 1);
  for (const [type, attributes] of [
    ["bandwidth", { rate: 1000 }], ["slow_close", { delay: 1 }], ["slicer", { average_size: 3, size_variation: 1, delay: 10 }],
    ["limit_data", { bytes: 1000000 }], ["timeout", { timeout: 60000 }], ["reset_peer", { timeout: 60000 }],
  ]) {
    const made = await proxy.addToxic({ name: type, type, stream: "upstream", toxicity: 0, attributes });
    assert.deepStrictEqual(made.attributes, attributes);
    await made.remove();
  }
  proxy = await proxy.update({ enabled: false, listen: proxy.listen, upstream: proxy.upstream });
  assert.strictEqual(proxy.enabled, false);
  await assert.rejects(echo(proxy.listen), /ECONNREFUSED/);
  await toxiproxy.reset();
  proxy = await toxiproxy.get("echo");
  assert.strictEqual(proxy.enabled, true);
  await assert.rejects(proxy.getToxic("slow"));
  await echo(proxy.listen);
  await proxy.remove();
  assert.deepStrictEqual(await toxiproxy.getAll(), {});
  console.log("done");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
