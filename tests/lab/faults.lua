-- hold: sleeps as many milliseconds as txn.delay_ms says, without holding up others.
core.register_action("hold", { "http-req", "http-res" }, function(txn)
	local ms = tonumber(txn:get_var("txn.delay_ms") or 0) or 0
	if ms > 0 then
		core.msleep(ms)
	end
end)

-- cut: closes the connection without an answer.
core.register_action("cut", { "http-res" }, function(txn)
	txn:done()
end)
