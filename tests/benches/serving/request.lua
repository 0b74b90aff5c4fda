-- One request again and again, for wrk: wrk -s request.lua URL -- BODY-FILE [HEADER VALUE]..
-- Ends with a line of JSON; latencies are in microseconds.

function init(args)
  local file = assert(io.open(args[1], "rb"))
  wrk.method, wrk.body = "POST", file:read("*a")
  file:close()
  for index = 2, #args, 2 do wrk.headers[args[index]] = args[index + 1] end
  request_bytes = wrk.format()
end

function request() return request_bytes end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests":%d,"seconds":%.6f,"errors":%d,"p50_us":%.1f,"p99_us":%.1f,"max_us":%.1f}\n',
    summary.requests, summary.duration / 1e6,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50), latency:percentile(99), latency.max))
end
