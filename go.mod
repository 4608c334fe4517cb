module github.com/naru-telemetry/naru

go 1.26
