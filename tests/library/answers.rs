//! What services say in their own words when they refuse, fail or lie.

use super::{all_hold, answer, any_service};

#[test]
fn stripe_fails_in_its_own_words() {
    let cases = [
        answer("stripe/rate-limit", "GET /v1/charges/ch_1", 429)
            .with("content-type", "application/json")
            .with("stripe-rate-limited-reason", "global-rate")
            .saying(r#"{"error":{"code":"rate_limit","doc_url":"https://stripe.com/docs/error-codes/rate-limit","message":"Request rate limit exceeded.","type":"invalid_request_error"}}"#)
            .tried_again(),
        answer("stripe/endpoint-rate-limit", "POST /v1/payment_intents", 429)
            .with("content-type", "application/json")
            .with("stripe-rate-limited-reason", "endpoint-rate")
            .saying(r#"{"error":{"code":"rate_limit","doc_url":"https://stripe.com/docs/error-codes/rate-limit","message":"Request rate limit exceeded.","type":"invalid_request_error"}}"#)
            .tried_again(),
        answer("stripe/lock-timeout", "POST /v1/charges", 429)
            .with("content-type", "application/json")
            .with("stripe-should-retry", "true")
            .saying(r#"{"error":{"code":"lock_timeout","doc_url":"https://stripe.com/docs/error-codes/lock-timeout","message":"This object cannot be accessed right now because another API request or Stripe process is currently accessing it. If you see this error intermittently, retry the request.","type":"invalid_request_error"}}"#)
            .tried_again(),
        answer("stripe/card-declined", "POST /v1/charges", 402)
            .with("content-type", "application/json")
            .with("stripe-should-retry", "false")
            .saying(r#"{"error":{"charge":"ch_stand_in","code":"card_declined","decline_code":"insufficient_funds","doc_url":"https://stripe.com/docs/error-codes/card-declined","message":"Your card has insufficient funds.","type":"card_error"}}"#),
        answer("stripe/idempotency-conflict", "POST /v1/charges", 409)
            .sending("idempotency-key", "key-7")
            .with("content-type", "application/json")
            .saying(r#"{"error":{"code":"idempotency_key_in_use","doc_url":"https://stripe.com/docs/error-codes/idempotency-key-in-use","message":"There is currently another in-progress request using this Stripe-Idempotency-Key: key-7.","type":"idempotency_error"}}"#),
        answer("stripe/should-retry", "POST /v1/charges", 429)
            .with("content-type", "application/json")
            .with("stripe-should-retry", "true")
            .saying(r#"{"error":{"code":"rate_limit","doc_url":"https://stripe.com/docs/error-codes/rate-limit","message":"Request rate limit exceeded.","type":"invalid_request_error"}}"#)
            .tried_again(),
        answer("stripe/error-after-charging", "POST /v1/charges", 500)
            .with("content-type", "application/json")
            .saying(r#"{"error":{"message":"An unknown error occurred","type":"api_error"}}"#)
            .once_it_has_acted()
            .tried_again(),
    ];
    all_hold(any_service(), &cases);
}

#[test]
fn github_fails_in_its_own_words() {
    let cases = [
        answer("github/primary-rate-limit", "GET /repos/octocat/hello-world", 403)
            .with("content-type", "application/json; charset=utf-8")
            .with("x-ratelimit-limit", "5000")
            .with("x-ratelimit-remaining", "0")
            .with("x-ratelimit-used", "5000")
            .with("x-ratelimit-reset", "1893456000")
            .with("x-ratelimit-resource", "core")
            .saying(r#"{"message":"API rate limit exceeded for user ID 1.","documentation_url":"https://docs.github.com/rest/overview/rate-limits-for-the-rest-api"}"#),
        answer("github/secondary-rate-limit", "GET /search/code?q=x", 403)
            .with("content-type", "application/json; charset=utf-8")
            .with("retry-after", "60")
            .with("x-ratelimit-limit", "5000")
            .with("x-ratelimit-remaining", "4321")
            .with("x-ratelimit-used", "679")
            .with("x-ratelimit-resource", "core")
            .saying(r#"{"documentation_url":"https://docs.github.com/free-pro-team@latest/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits","message":"You have exceeded a secondary rate limit. Please wait a few minutes before you try again."}"#),
        answer("github/graphql-rate-limited", "POST /graphql", 200)
            .with("content-type", "application/json; charset=utf-8")
            .with("x-ratelimit-limit", "5000")
            .with("x-ratelimit-remaining", "0")
            .with("x-ratelimit-used", "5000")
            .with("x-ratelimit-reset", "1893456000")
            .with("x-ratelimit-resource", "graphql")
            .saying(r#"{"errors":[{"type":"RATE_LIMITED","message":"API rate limit exceeded for user ID 1."}]}"#)
            .believed(),
        answer("github/graphql-timeout", "POST /graphql", 502)
            .with("content-type", "application/json; charset=utf-8")
            .saying(r#"{"data":null,"errors":[{"message":"Something went wrong while executing your query. This may be the result of a timeout, or it could be a GitHub bug."}]}"#)
            .tried_again(),
        answer("github/git-unavailable", "GET /octocat/hello-world.git/info/refs?service=git-upload-pack", 503)
            .with("content-type", "text/plain; charset=utf-8")
            .with("retry-after", "30")
            .saying("Service unavailable\n")
            .tried_again_after(30),
    ];
    all_hold(any_service(), &cases);
}

#[test]
fn openai_fails_in_its_own_words() {
    let cases = [
        answer("openai/tokens-per-minute", "POST /v1/chat/completions", 429)
            .with("content-type", "application/json")
            .with("x-ratelimit-limit-requests", "500")
            .with("x-ratelimit-limit-tokens", "30000")
            .with("x-ratelimit-remaining-requests", "499")
            .with("x-ratelimit-remaining-tokens", "14468")
            .with("x-ratelimit-reset-requests", "120ms")
            .with("x-ratelimit-reset-tokens", "374ms")
            .saying(r#"{"error":{"message":"Rate limit reached for gpt-4o in organization org-stand-in on tokens per min (TPM): Limit 30000, Used 15532, Requested 14655. Please try again in 374ms. Visit https://platform.openai.com/account/rate-limits to learn more.","type":"tokens","param":null,"code":"rate_limit_exceeded"}}"#)
            .tried_again(),
        answer("openai/retry-after", "POST /v1/chat/completions", 429)
            .with("content-type", "application/json")
            .with("retry-after", "1")
            .saying(r#"{"error":{"message":"Rate limit reached for requests","type":"requests","param":null,"code":"rate_limit_exceeded"}}"#)
            .tried_again_after(1),
        answer("openai/insufficient-quota", "POST /v1/chat/completions", 429)
            .with("content-type", "application/json")
            .saying(r#"{"error":{"message":"You exceeded your current quota, please check your plan and billing details. For more information on this error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors.","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#)
            .tried_again(),
        answer("openai/overloaded", "POST /v1/chat/completions", 503)
            .with("content-type", "application/json")
            .saying(r#"{"error":{"message":"Our servers are currently overloaded. Please try again later.","type":"service_unavailable_error","param":null,"code":"server_is_overloaded"}}"#)
            .tried_again(),
        answer("openai/html-in-a-200", "POST /v1/chat/completions", 200)
            .with("content-type", "text/html")
            .saying("<html>\n<head><title>502 Bad Gateway</title></head>\n<body>\n<center><h1>502 Bad Gateway</h1></center>\n<hr><center>cloudflare</center>\n</body>\n</html>\n")
            .believed(),
    ];
    all_hold(any_service(), &cases);
}

#[test]
fn anthropic_fails_in_its_own_words() {
    let cases = [
        answer("anthropic/overloaded", "POST /v1/messages", 529)
            .with("content-type", "application/json")
            .with("request-id", "req_stand_in")
            .saying(r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"req_stand_in"}"#)
            .tried_again(),
        answer("anthropic/rate-limit", "POST /v1/messages", 429)
            .with("content-type", "application/json")
            .with("retry-after", "1")
            .with("request-id", "req_stand_in")
            .with("anthropic-ratelimit-requests-limit", "50")
            .with("anthropic-ratelimit-requests-remaining", "49")
            .with("anthropic-ratelimit-requests-reset", "2030-01-01T00:00:00Z")
            .with("anthropic-ratelimit-input-tokens-limit", "30000")
            .with("anthropic-ratelimit-input-tokens-remaining", "0")
            .with("anthropic-ratelimit-input-tokens-reset", "2030-01-01T00:00:00Z")
            .with("anthropic-ratelimit-output-tokens-limit", "8000")
            .with("anthropic-ratelimit-output-tokens-remaining", "8000")
            .with("anthropic-ratelimit-output-tokens-reset", "2030-01-01T00:00:00Z")
            .saying(r#"{"type":"error","error":{"type":"rate_limit_error","message":"This request would exceed the rate limit for your organization of 30,000 input tokens per minute."},"request_id":"req_stand_in"}"#)
            .tried_again_after(1),
        answer("anthropic/timeout", "POST /v1/messages", 504)
            .with("content-type", "application/json")
            .with("request-id", "req_stand_in")
            .saying(r#"{"type":"error","error":{"type":"timeout_error","message":"Request timed out."},"request_id":"req_stand_in"}"#)
            .tried_again(),
        answer("anthropic/api-error", "POST /v1/messages", 500)
            .with("content-type", "application/json")
            .with("request-id", "req_stand_in")
            .saying(r#"{"type":"error","error":{"type":"api_error","message":"Internal server error"},"request_id":"req_stand_in"}"#)
            .tried_again(),
        answer("anthropic/request-too-large", "POST /v1/messages", 413)
            .with("content-type", "application/json")
            .with("request-id", "req_stand_in")
            .saying(r#"{"type":"error","error":{"type":"request_too_large","message":"Request exceeds the maximum size"},"request_id":"req_stand_in"}"#),
    ];
    all_hold(any_service(), &cases);
}

#[test]
fn aws_fails_in_its_own_words() {
    let cases = [
        answer("aws/dynamodb-throughput-exceeded", "POST /", 400)
            .sending("x-amz-target", "DynamoDB_20120810.GetItem")
            .with("content-type", "application/x-amz-json-1.0")
            .with("x-amzn-requestid", "STANDIN00000000000000000000000000000000000000000000")
            .saying(r#"{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException","message":"The level of configured provisioned throughput for the table was exceeded. Consider increasing your provisioning level with the UpdateTable API."}"#),
        answer("aws/dynamodb-throttling", "POST /", 400)
            .sending("x-amz-target", "DynamoDB_20120810.DescribeTable")
            .with("content-type", "application/x-amz-json-1.0")
            .with("x-amzn-requestid", "STANDIN00000000000000000000000000000000000000000000")
            .saying(r#"{"__type":"com.amazon.coral.availability#ThrottlingException","message":"Rate of requests exceeds the allowed throughput."}"#),
        answer("aws/dynamodb-request-limit", "POST /", 400)
            .sending("x-amz-target", "DynamoDB_20120810.PutItem")
            .with("content-type", "application/x-amz-json-1.0")
            .with("x-amzn-requestid", "STANDIN00000000000000000000000000000000000000000000")
            .saying(r#"{"__type":"com.amazonaws.dynamodb.v20120810#RequestLimitExceeded","message":"Throughput exceeds the current throughput limit for your account. Please contact AWS Support at https://aws.amazon.com/support to request a limit increase."}"#),
        answer("aws/dynamodb-transaction-in-progress", "POST /", 400)
            .sending("x-amz-target", "DynamoDB_20120810.TransactWriteItems")
            .with("content-type", "application/x-amz-json-1.0")
            .with("x-amzn-requestid", "STANDIN00000000000000000000000000000000000000000000")
            .saying(r#"{"__type":"com.amazonaws.dynamodb.v20120810#TransactionInProgressException","message":"The transaction with the given request token is already in progress."}"#),
        answer("aws/s3-slow-down", "GET /bucket/key", 503)
            .with("content-type", "application/xml")
            .with("x-amz-request-id", "STANDIN000000000")
            .with("x-amz-id-2", "stand-in")
            .saying("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message><RequestId>STANDIN000000000</RequestId><HostId>stand-in</HostId></Error>")
            .tried_again(),
        answer("aws/s3-copy-error-in-a-200", "PUT /bucket/copy", 200)
            .sending("x-amz-copy-source", "/bucket/key")
            .with("content-type", "application/xml")
            .with("x-amz-request-id", "STANDIN000000000")
            .with("x-amz-id-2", "stand-in")
            .saying("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message><RequestId>STANDIN000000000</RequestId><HostId>stand-in</HostId></Error>")
            .believed(),
        answer("aws/s3-request-timeout", "PUT /bucket/key", 400)
            .with("content-type", "application/xml")
            .with("x-amz-request-id", "STANDIN000000000")
            .with("x-amz-id-2", "stand-in")
            .saying("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>RequestTimeout</Code><Message>Your socket connection to the server was not read from or written to within the timeout period. Idle connections will be closed.</Message><RequestId>STANDIN000000000</RequestId><HostId>stand-in</HostId></Error>"),
        answer("aws/s3-internal-error", "GET /bucket/key", 500)
            .with("content-type", "application/xml")
            .with("x-amz-request-id", "STANDIN000000000")
            .with("x-amz-id-2", "stand-in")
            .saying("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>InternalError</Code><Message>We encountered an internal error. Please try again.</Message><RequestId>STANDIN000000000</RequestId><HostId>stand-in</HostId></Error>")
            .tried_again(),
        answer("aws/ec2-request-limit", "POST /", 503)
            .with("content-type", "text/xml;charset=UTF-8")
            .saying("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response><Errors><Error><Code>RequestLimitExceeded</Code><Message>Request limit exceeded.</Message></Error></Errors><RequestID>stand-in</RequestID></Response>")
            .tried_again(),
        answer("aws/sqs-throttled", "POST /", 403)
            .with("content-type", "application/x-amz-json-1.0")
            .with("x-amzn-requestid", "STANDIN00000000000000000000000000000000000000000000")
            .with("x-amzn-query-error", "RequestThrottled;Sender")
            .saying(r#"{"__type":"com.amazonaws.sqs#RequestThrottled","message":"Request is throttled."}"#),
        answer("aws/route53-throttling", "POST /2013-04-01/hostedzone/Z1/rrset", 400)
            .with("content-type", "text/xml")
            .saying("<?xml version=\"1.0\"?>\n<ErrorResponse xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\"><Error><Type>Sender</Type><Code>Throttling</Code><Message>Rate exceeded</Message></Error><RequestId>stand-in</RequestId></ErrorResponse>"),
    ];
    all_hold(any_service(), &cases);
}

#[test]
fn google_cloud_fails_in_its_own_words() {
    let cases = [
        answer("google-cloud/quota-exceeded", "GET /compute/v1/projects/p/zones", 429)
            .with("content-type", "application/json; charset=UTF-8")
            .saying(r#"{"error":{"code":429,"message":"Quota exceeded for quota metric 'Queries' and limit 'Queries per minute' of service 'compute.googleapis.com' for consumer 'project_number:1'.","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"RATE_LIMIT_EXCEEDED","domain":"googleapis.com"},{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"subject":"project_number:1","description":"Queries per minute"}]},{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"57.238747106s"}]}}"#)
            .tried_again(),
        answer("google-cloud/unavailable", "GET /compute/v1/projects/p/zones", 503)
            .with("content-type", "application/json; charset=UTF-8")
            .saying(r#"{"error":{"code":503,"message":"The service is currently unavailable.","status":"UNAVAILABLE"}}"#)
            .tried_again(),
        answer("google-cloud/aborted", "POST /v1/projects/p/databases/d/documents:commit", 409)
            .with("content-type", "application/json; charset=UTF-8")
            .saying(r#"{"error":{"code":409,"message":"The operation was aborted.","status":"ABORTED"}}"#),
        answer("google-cloud/deadline-exceeded", "POST /v1/projects/p/databases/d/documents:commit", 504)
            .with("content-type", "application/json; charset=UTF-8")
            .saying(r#"{"error":{"code":504,"message":"Deadline expired before operation could complete.","status":"DEADLINE_EXCEEDED"}}"#)
            .once_it_has_acted()
            .tried_again(),
    ];
    all_hold(any_service(), &cases);
}

#[test]
fn azure_fails_in_its_own_words() {
    let cases = [
        answer("azure/arm-throttled", "GET /subscriptions/0/resources", 429)
            .with("content-type", "application/json; charset=utf-8")
            .with("retry-after", "10")
            .saying(r#"{"error":{"code":"SubscriptionRequestsThrottled","message":"Number of 'read' requests for subscription '00000000-0000-0000-0000-000000000000' exceeded. Please try again after '10' seconds."}}"#)
            .tried_again_after(10),
        answer("azure/cosmos-throttled", "POST /dbs/shop/colls/orders/docs", 429)
            .with("content-type", "application/json")
            .with("x-ms-substatus", "3200")
            .with("x-ms-retry-after-ms", "24")
            .with("x-ms-request-charge", "0.38")
            .saying(r#"{"code":"429","message":"Request rate is large. More Request Units may be needed, so no changes were made. Please retry this request later. Learn more: http://aka.ms/cosmosdb-error-429"}"#)
            .tried_again(),
        answer("azure/cosmos-retry-with", "PUT /dbs/shop/colls/orders/docs/1", 449)
            .with("content-type", "application/json")
            .saying(r#"{"code":"449","message":"Conflicting request to resource has been attempted. Retry to avoid conflicts."}"#),
        answer("azure/cosmos-gone", "GET /dbs/shop/colls/orders/docs/1", 410)
            .with("content-type", "application/json")
            .with("x-ms-substatus", "1002")
            .saying(r#"{"code":"Gone","message":"The requested resource is no longer available at the server."}"#),
    ];
    all_hold(any_service(), &cases);
}

#[test]
fn any_service_fails_in_its_own_words() {
    let cases = [
        answer("http/reduced-capacity", "GET /orders", 503)
            .with("content-type", "application/problem+json")
            .with("retry-after", "20")
            .saying(r#"{"type":"https://iana.org/assignments/http-problem-types#temporary-reduced-capacity","title":"Request cannot be satisfied due to temporary server capacity constraints","violated-policies":["hourly"]}"#)
            .tried_again_after(20),
        answer("http/abnormal-usage", "GET /orders", 429)
            .with("content-type", "application/problem+json")
            .with("retry-after", "20")
            .saying(r#"{"type":"https://iana.org/assignments/http-problem-types#abnormal-usage-detected","title":"Request not satisfied due to detection of abnormal request pattern","violated-policies":["hourly"]}"#)
            .tried_again_after(20),
        answer("http/retry-after-date", "GET /orders", 503)
            .with("content-type", "text/plain")
            .with("retry-after", "Wed, 01 Jan 2031 00:00:00 GMT")
            .saying("Come back later\n")
            .tried_again(),
        answer("http/gateway-page", "GET /orders", 502)
            .with("content-type", "text/html")
            .with("server", "nginx")
            .saying("<html>\n<head><title>502 Bad Gateway</title></head>\n<body>\n<center><h1>502 Bad Gateway</h1></center>\n<hr><center>nginx</center>\n</body>\n</html>\n")
            .tried_again(),
    ];
    all_hold(any_service(), &cases);
}

#[test]
fn others_fail_in_their_own_words() {
    let cases = [
        answer("slack/rate-limited", "POST /api/chat.postMessage", 429)
            .with("content-type", "application/json")
            .with("retry-after", "30")
            .saying(r#"{"ok":false,"error":"ratelimited"}"#)
            .tried_again_after(30),
        answer("slack/error-in-a-200", "POST /api/chat.postMessage", 200)
            .with("content-type", "application/json; charset=utf-8")
            .saying(r#"{"ok":false,"error":"internal_error"}"#)
            .believed(),
        answer("twilio/too-many-requests", "POST /2010-04-01/Accounts/AC0/Messages.json", 429)
            .with("content-type", "application/json")
            .saying(r#"{"code":20429,"message":"Too Many Requests","more_info":"https://www.twilio.com/docs/errors/20429","status":429}"#)
            .tried_again(),
        answer("shopify/rest-rate-limit", "GET /admin/api/2026-10/orders.json", 429)
            .with("content-type", "application/json")
            .with("retry-after", "2.0")
            .with("x-shopify-shop-api-call-limit", "40/40")
            .saying(r#"{"errors":"Exceeded 2 calls per second for api client. Reduce request rates to resume uninterrupted service."}"#)
            .tried_again_after(2),
        answer("shopify/graphql-throttled", "POST /admin/api/2026-10/graphql.json", 200)
            .with("content-type", "application/json; charset=utf-8")
            .saying(r#"{"errors":[{"message":"Throttled","extensions":{"code":"THROTTLED","documentation":"https://shopify.dev/api/usage/rate-limits"}}],"extensions":{"cost":{"requestedQueryCost":252,"actualQueryCost":null,"throttleStatus":{"maximumAvailable":1000,"currentlyAvailable":52,"restoreRate":50}}}}"#)
            .believed(),
        answer("kubernetes/too-many-requests", "GET /api/v1/pods", 429)
            .with("content-type", "text/plain; charset=utf-8")
            .with("retry-after", "1")
            .with("x-content-type-options", "nosniff")
            .saying("Too many requests, please try again later.\n")
            .tried_again_after(1),
        answer("kubernetes/watch-expired", "GET /api/v1/pods?watch=true&resourceVersion=10", 200)
            .with("content-type", "application/json")
            .saying("{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\",\"message\":\"too old resource version: 10 (15)\",\"reason\":\"Expired\",\"code\":410}}\n")
            .believed(),
        answer("elasticsearch/rejected", "POST /orders/_search", 429)
            .with("content-type", "application/json")
            .saying(r#"{"error":{"root_cause":[{"type":"es_rejected_execution_exception","reason":"rejected execution of coordinating operation"}],"type":"es_rejected_execution_exception","reason":"rejected execution of coordinating operation"},"status":429}"#)
            .tried_again(),
        answer("elasticsearch/bulk-rejected", "POST /orders/_bulk", 200)
            .with("content-type", "application/json")
            .saying(r#"{"took":7,"errors":true,"items":[{"index":{"_index":"orders","_id":"1","status":429,"error":{"type":"es_rejected_execution_exception","reason":"rejected execution of coordinating operation"}}},{"index":{"_index":"orders","_id":"2","status":429,"error":{"type":"es_rejected_execution_exception","reason":"rejected execution of coordinating operation"}}}]}"#)
            .believed(),
    ];
    all_hold(any_service(), &cases);
}
