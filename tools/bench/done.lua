-- SPDX-License-Identifier: Apache-2.0
-- One line of JSON at the end of a wrk run. With arguments FILE N (after --): the first N bearer tokens of FILE, in random order.
local requests
function init(args)
   if #args < 2 then return end
   requests = {}
   for token in io.lines(args[1]) do
      if #requests < tonumber(args[2]) then
         requests[#requests + 1] = wrk.format("GET", "/", { Authorization = "Bearer " .. token, Host = "gw.test" })
      end
   end
   math.randomseed(7)
   request = function() return requests[math.random(#requests)] end
end
function done(s, latency)
   local e = s.errors
   io.write(string.format('\nRESULT {"requests":%d,"us":%d,"status":%d,"errors":%d,"p99_us":%d}\n', s.requests, s.duration, e.status,
      e.connect + e.read + e.write + e.timeout, latency:percentile(99)))
end
