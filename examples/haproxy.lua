-- Asks Narthex about each request. haproxy.cfg uses the results: txn.status, txn.data and txn.identity.

core.register_action("narthex", { "http-req" }, function(txn)
    local headers = txn.http:req_get_headers()
    headers["content-length"], headers["transfer-encoding"] = nil, nil
    headers["x-forwarded-method"] = { [0] = txn.sf:method() }
    headers["x-forwarded-host"] = { [0] = txn.sf:hdr("host") }
    headers["x-forwarded-uri"] = { [0] = txn.sf:pathq() }
    local answer = core.httpclient():get{
        url = "http://127.0.0.1:8080/.narthex/forward-auth?on_unauthenticated_request=deny",
        headers = headers,
    }
    local function first(name) return (answer.headers[name] or { [0] = "" })[0] end
    txn:set_var("txn.status", answer.status)
    txn:set_var("txn.data", first("x-amzn-oidc-data"))
    txn:set_var("txn.identity", first("x-amzn-oidc-identity"))
end)
