app {
  url = "https://github.com/crate/cratedb-retention"
}

pack {
  name        = "cratedb_retention"
  description = "Retention for time-series data in CrateDB, by policies stored in the database"
  version     = "0.1.0"
}
