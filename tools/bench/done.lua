-- SPDX-License-Identifier: Apache-2.0
-- One line of JSON at the end of a wrk run. After --: "tokens FILE N": the first N bearer tokens of FILE, in random order;
-- "routes N": the paths of N routes, in random order.
local requests
local function tokens(file, n)
   for token in io.lines(file) do
      if #requests < n then
         requests[#requests + 1] = wrk.format("GET", "/", { Authorization = "Bearer " .. token, Host = "gw.test" })
      end
   end
end
local function routes(n)
   for i = 0, n - 1 do
      requests[#requests + 1] = wrk.format("GET", "/v1/r" .. i .. "/items")
   end
end
function init(args)
   if #args < 2 then return end
   requests = {}
   if args[1] == "tokens" then tokens(args[2], tonumber(args[3])) else routes(tonumber(args[2])) end
   math.randomseed(7)
   request = function() return requests[math.random(#requests)] end
end
function done(s, latency)
   local e = s.errors
   io.write(string.format('\nRESULT {"requests":%d,"us":%d,"status":%d,"errors":%d,"p99_us":%d}\n', s.requests, s.duration, e.status,
      e.connect + e.read + e.write + e.timeout, latency:percentile(99)))
end
