-- wrk sends exactly 10000 requests from each thread and says when they are answered: what it counts can be held against what
-- others count.
local each = 10000
local sent, answered = 0, 0

-- milliseconds until a connection's next request
function delay()
    sent = sent + 1
    return sent <= each and 0 or 3600000
end

function response()
    answered = answered + 1
    if answered == each then io.stderr:write("all answered\n") end
end
