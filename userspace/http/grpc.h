#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "http/header_map.h"

// What a proxy has to know of gRPC. https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
namespace sluice::http {

// "application/grpc" or "application/grpc+proto" and the like; not gRPC-Web.
bool is_grpc_content_type(std::string_view content_type);
bool is_grpc_request(const HeaderMap& headers);  // has a :path, too
// The head of a gRPC response: 200 with that content type, or, where it ends the stream, with a grpc-status.
bool is_grpc_response(const HeaderMap& headers, bool end_stream);

// A grpc-status as its number. What is no number, or (without allow_user_defined) none of gRPC's own: kGrpcInvalidStatus.
inline constexpr int64_t kGrpcInvalidStatus = -1;
inline constexpr int64_t kGrpcStatusMax = 16;
int64_t parse_grpc_status(std::string_view text, bool allow_user_defined);

// The status of a call: from the trailers, else from the head, else what the HTTP status means. Null: not there.
std::optional<int64_t> grpc_status(const HeaderMap* trailers, const HeaderMap* headers, uint16_t http_status,
                                   bool allow_user_defined);
// https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md
uint32_t grpc_status_of_http(uint16_t http_status);
// The other way round, for clients that do not speak gRPC and for statistics.
uint16_t http_status_of_grpc(uint32_t grpc_status);

// "PermissionDenied" and "PERMISSION_DENIED"; "": no such status. Both spell status 1 in Envoy's way: "Canceled", "CANCELLED".
std::string_view grpc_status_camel_name(int64_t status);
std::string_view grpc_status_snake_name(int64_t status);

// ":path" of a call: "/package.Service/Method".
struct GrpcMethod {
  std::string_view service, method;
};
std::optional<GrpcMethod> parse_grpc_path(std::string_view path);

}  // namespace sluice::http
