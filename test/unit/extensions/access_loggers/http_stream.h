#pragma once

#include "http/codec.h"
#include "http/header_map.h"
#include "model/route.h"
#include "test/unit/extensions/access_loggers/stream.h"

// One request and its response with everything that they may have: `info` is its record.
struct HttpStream {
  HttpStream() {
    using namespace sluice;
    using http::Name;
    request.add(Name::authority, "ex.com");
    request.add(Name::method, "GET");
    request.add(Name::path, "/vc/x?a=%41%2f&b=%20z%26&c=x+y%2B&d=%zz%00&%61=q&z");
    request.add("a", "abcdef");
    request.add(Name::x_request_id, "540310bb-54cb-465a-85ff-3fe3770f3a8a");
    response.add(Name::status, "200");
    response.add("x-up", "yes");
    response.add(Name::x_envoy_upstream_service_time, "7");
    trailers.add("x-t", "tv");

    info = recorded_stream();
    info.http = &http;
    info.upstream_host_name.clear();
    info.filter_chain_name = std::make_shared<const std::string>();
    info.bytes_received = 7;
    info.bytes_sent = 5;
    info.upstream_bytes_sent = info.upstream_bytes_received = 0;
    info.response_code_details = "via_upstream";
    http.protocol = http::Protocol::http11;
    http.upstream_protocol = http::Protocol::http2;
    http.request_headers = &request;
    http.response_headers = &response;
    http.response_code = 200;
    http.virtual_cluster_name = "vc";
    route.name = "main";
    route.metadata_text = sluice::model::TextPairs{{"f:k", "v"}, {"f:o:i", "w"}};
    http.route = &route;
    http.downstream_wire_bytes_received = 86;
    http.downstream_wire_bytes_sent = 159;
    http.downstream_header_bytes_received = 41;
    http.downstream_header_bytes_sent = 135;
    http.upstream_wire_bytes_received = 54;
    http.upstream_wire_bytes_sent = 233;
    http.upstream_header_bytes_received = 28;
    http.upstream_header_bytes_sent = 191;
    auto at = [&](int64_t us) { return info.start + std::chrono::microseconds(us); };
    http.connection_start = info.start - std::chrono::microseconds(323);
    http.last_downstream_rx_byte = at(1031);
    http.upstream_request_start = at(1500);
    http.upstream_pool_ready = at(2600);
    http.first_upstream_tx_byte = at(2659);
    http.last_upstream_tx_byte = at(2660);
    http.first_upstream_rx_byte = at(3725);
    http.first_upstream_rx_body_byte = at(3806);
    http.last_upstream_rx_byte = at(4811);
    http.first_downstream_tx_byte = at(4801);
    http.last_downstream_tx_byte = at(5847);
    info.end = at(5900);
  }
  HttpStream(const HttpStream&) = delete;

  sluice::http::HeaderMap request, response, trailers;
  sluice::model::Route route;
  sluice::ext::HttpInfo http;
  sluice::ext::StreamInfo info;
};
