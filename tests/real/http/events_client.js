// eventsource, the browsers' EventSource for Node: hears ten events, however often it has to connect for them.
const { EventSource } = require("eventsource");

const source = new EventSource(process.argv[2]);
const told = { ids: [], opened: 0, failed: 0 };
const hear = ({ lastEventId }) => {
  told.ids.push(Number(lastEventId));
  if (lastEventId !== "9") return;
  source.close();
  console.log(JSON.stringify(told));
};
source.onmessage = hear;
source.addEventListener("named", hear);
source.onopen = () => (told.opened += 1);
source.onerror = (event) => {
  told.failed += 1;
  if (source.readyState === EventSource.CLOSED) console.log(JSON.stringify({ ...told, gaveUp: event.message }));
};
