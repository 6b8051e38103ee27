// StatsD (github.com/statsd/statsd) for celery-statsd: node stats.js config.js
// Where it listens and where its Graphite is can be set in the environment.
{
  servers: [{
    server: "./servers/udp",
    address: process.env.STATSD_ADDRESS || "127.0.0.1",
    port: +(process.env.STATSD_PORT || 8125)
  }],
  mgmt_address: "127.0.0.1",
  mgmt_port: +(process.env.STATSD_MANAGEMENT_PORT || 8126),

  graphiteHost: process.env.GRAPHITE_HOST || "127.0.0.1",
  graphitePort: +(process.env.GRAPHITE_PORT || 2003),
  backends: ["./backends/graphite"],

  // The agent's flush_interval, and the first retention of Graphite's storage-schemas.conf. A StatsD
  // flushes at the seconds it was started at; 9, 19, 29 ... are bad ones, for a flush that is half a
  // second late then falls into the next point of Graphite, which keeps one of two.
  flushInterval: 10000,

  // stats.counters.<name>.count, .rate: the names that dashboards and alerts take unless they are
  // told otherwise (--flavour statsd-legacy).
  graphite: { legacyNamespace: false },

  percentThreshold: [90, 95, 99],

  // Counters nobody sent are 0: a difference of two needs both. Gauges nobody sent for a minute are
  // no more: else those of an agent that died are repeated for as long as StatsD runs.
  deleteCounters: false,
  deleteGauges: true,
  gaugesMaxTTL: 6
}
