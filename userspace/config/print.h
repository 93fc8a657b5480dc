#pragma once

#include <string>
#include <string_view>

namespace google::protobuf {
class Message;
}

namespace sluice::config {

// RFC 4648, section 4, padded.
std::string base64(std::string_view bytes);

struct PrintOptions {
  bool pretty = true;                // indented by one blank a level, as Envoy's admin endpoints are
  bool always_print_fields = false;  // also singular fields with their default value (Envoy's /server_info)
  bool redact = true;  // fields marked udpa.annotations.sensitive become "[redacted]"
};

// A message as JSON, with the field names of the .proto files (as Envoy's config_dump has them). What an Any
// holds is written out after its "@type"; an Any of a type this build does not know keeps its bytes, as
// "value" in base64.
std::string to_json(const google::protobuf::Message& message, const PrintOptions& options = {});

}  // namespace sluice::config
