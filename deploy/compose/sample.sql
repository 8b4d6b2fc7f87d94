-- Two tables with 90 days of made-up data, for the policies in policies.yaml.
CREATE TABLE IF NOT EXISTS doc.metrics (
    ts TIMESTAMP WITH TIME ZONE NOT NULL,
    sensor TEXT NOT NULL,
    temperature DOUBLE PRECISION,
    week TIMESTAMP WITH TIME ZONE GENERATED ALWAYS AS date_trunc('week', ts)
) CLUSTERED INTO 1 SHARDS PARTITIONED BY (week) WITH (number_of_replicas = 0);
CREATE TABLE IF NOT EXISTS doc.logs (
    ts TIMESTAMP WITH TIME ZONE NOT NULL,
    message TEXT,
    week TIMESTAMP WITH TIME ZONE GENERATED ALWAYS AS date_trunc('week', ts)
) CLUSTERED INTO 1 SHARDS PARTITIONED BY (week) WITH (number_of_replicas = 0);
INSERT INTO doc.metrics (ts, sensor, temperature)
    SELECT now() - ('10 minutes'::INTERVAL * minute), 'sensor-' || sensor, 15 + sensor + 8 * sin(minute * pi() / 72)
    FROM generate_series(0, 12959) AS m(minute), generate_series(1, 3) AS s(sensor);
INSERT INTO doc.logs (ts, message)
    SELECT now() - ('1 hour'::INTERVAL * hour), 'message ' || hour FROM generate_series(0, 2159) AS h(hour);
REFRESH TABLE doc.metrics, doc.logs;
