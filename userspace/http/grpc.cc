#include "http/grpc.h"

#include <charconv>

namespace sluice::http {
namespace {

struct StatusNames {
  std::string_view camel, snake;
  uint16_t http;
};

constexpr StatusNames kStatuses[] = {
    {"OK", "OK", 200},
    {"Canceled", "CANCELLED", 499},
    {"Unknown", "UNKNOWN", 500},
    {"InvalidArgument", "INVALID_ARGUMENT", 400},
    {"DeadlineExceeded", "DEADLINE_EXCEEDED", 504},
    {"NotFound", "NOT_FOUND", 404},
    {"AlreadyExists", "ALREADY_EXISTS", 409},
    {"PermissionDenied", "PERMISSION_DENIED", 403},
    {"ResourceExhausted", "RESOURCE_EXHAUSTED", 429},
    {"FailedPrecondition", "FAILED_PRECONDITION", 400},
    {"Aborted", "ABORTED", 409},
    {"OutOfRange", "OUT_OF_RANGE", 400},
    {"Unimplemented", "UNIMPLEMENTED", 501},
    {"Internal", "INTERNAL", 500},
    {"Unavailable", "UNAVAILABLE", 503},
    {"DataLoss", "DATA_LOSS", 500},
    {"Unauthenticated", "UNAUTHENTICATED", 401},
};
static_assert(std::size(kStatuses) == kGrpcStatusMax + 1);

const StatusNames* find_status(int64_t status) {
  return status < 0 || status > kGrpcStatusMax ? nullptr : &kStatuses[status];
}

}  // namespace

bool is_grpc_content_type(std::string_view content_type) {
  constexpr std::string_view kGrpc = "application/grpc";
  if (!content_type.starts_with(kGrpc)) return false;
  return content_type.size() == kGrpc.size() || content_type[kGrpc.size()] == '+';
}

bool is_grpc_request(const HeaderMap& headers) {
  return headers.has(Name::path) && is_grpc_content_type(headers.get(Name::content_type));
}

bool is_grpc_response(const HeaderMap& headers, bool end_stream) {
  if (end_stream) return headers.has(Name::grpc_status);
  return headers.get(Name::status) == "200" && is_grpc_content_type(headers.get(Name::content_type));
}

int64_t parse_grpc_status(std::string_view text, bool allow_user_defined) {
  uint32_t status = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), status);
  if (error != std::errc{} || end != text.data() + text.size()) return kGrpcInvalidStatus;
  if (status > kGrpcStatusMax && !allow_user_defined) return kGrpcInvalidStatus;
  return status;
}

std::optional<int64_t> grpc_status(const HeaderMap* trailers, const HeaderMap* headers, uint16_t http_status,
                                   bool allow_user_defined) {
  for (const HeaderMap* map : {trailers, headers}) {
    if (!map) continue;
    if (std::string_view text = map->get(Name::grpc_status); !text.empty())
      return parse_grpc_status(text, allow_user_defined);
  }
  if (http_status == 0) return std::nullopt;
  return grpc_status_of_http(http_status);
}

uint32_t grpc_status_of_http(uint16_t http_status) {
  switch (http_status) {
    case 400:
      return 13;  // INTERNAL
    case 401:
      return 16;  // UNAUTHENTICATED
    case 403:
      return 7;  // PERMISSION_DENIED
    case 404:
      return 12;  // UNIMPLEMENTED
    case 429:
    case 502:
    case 503:
    case 504:
      return 14;  // UNAVAILABLE
    default:
      return 2;  // UNKNOWN
  }
}

uint16_t http_status_of_grpc(uint32_t grpc_status) {
  const StatusNames* s = find_status(grpc_status);
  return s ? s->http : 500;
}

std::string_view grpc_status_camel_name(int64_t status) {
  const StatusNames* s = find_status(status);
  return s ? s->camel : std::string_view{};
}

std::string_view grpc_status_snake_name(int64_t status) {
  const StatusNames* s = find_status(status);
  return s ? s->snake : std::string_view{};
}

std::optional<GrpcMethod> parse_grpc_path(std::string_view path) {
  path = path.substr(0, path.find('?'));
  if (!path.starts_with('/')) return std::nullopt;
  path.remove_prefix(1);
  size_t slash = path.find('/');
  if (slash == path.npos || slash == 0 || slash + 1 == path.size() || path.find('/', slash + 1) != path.npos)
    return std::nullopt;
  return GrpcMethod{path.substr(0, slash), path.substr(slash + 1)};
}

}  // namespace sluice::http
