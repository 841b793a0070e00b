-- For wrk: what is sent, and what is said at the end. Arguments: method, path, body, requests sent at once.

local depth

function init(args)
   wrk.method = args[1]
   wrk.path = args[2]
   wrk.body = args[3] ~= "" and args[3] or nil
   depth = tonumber(args[4])
   if depth > 1 then
      -- wrk asks for its one request here. Without a function named `request` it does so only once, so that no
      -- Lua runs while it measures.
      local requests = wrk.format():rep(depth)
      wrk.format = function() return requests end
   end
end

-- Among the errors are the statuses above 399. To wrk, a redirect is an answer like any other, so who asks
-- for IDs has to count them as well (see `clusters.load_ids`).
function done(summary, latency, requests)
   local errors = summary.errors
   io.write(string.format("\nmeasured %d %d %d %d %d\n", summary.requests, summary.duration,
      latency:percentile(50), latency:percentile(99),
      errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
