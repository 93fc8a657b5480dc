#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace envoy::config::bootstrap::v3 {
class Bootstrap;
}
namespace envoy::config::core::v3 {
class Node;
}
namespace google::protobuf {
class Message;
}

namespace sluice::config {

class HonouredFields;
using BootstrapPtr = std::shared_ptr<const envoy::config::bootstrap::v3::Bootstrap>;

// A bootstrap that is rarely looked at: its bytes, which take a tenth of the memory of its messages.
class KeptBootstrap {
 public:
  KeptBootstrap() = default;
  explicit KeptBootstrap(std::string bytes);
  // Made anew each time. Without static_resources it costs little.
  BootstrapPtr message() const;
  BootstrapPtr without_static_resources() const;
  envoy::config::core::v3::Node node() const;

 private:
  std::string bytes_, rest_;  // all of it; all but static_resources
};

// What the command line says about configuration; empty: not given.
struct LoadOptions {
  // -c: .yaml, .yml, .json, .pb (binary), .pb_text; any other name is read as JSON, as Envoy does
  std::string path = {};
  // --config-yaml: merged over the file
  std::string yaml = {};
  // --service-node, --service-cluster, --service-zone: over the bootstrap's node
  std::string service_node = {};
  std::string service_cluster = {};
  std::string service_zone = {};
};

// The text a configuration came from, kept so that an error found later can say its line.
class Sources {
 public:
  // YAML or JSON. The text as kept: good until the next add().
  std::string_view add(std::string name, std::string text);
  // An error that starts with a field's path ("static_resources.clusters[0].name: ...") gets
  // "file:line:column: " in front, of the innermost part of the path that the text has; any other is left as
  // it is.
  Error locate(Error error) const;

 private:
  struct Source {
    std::string name, text;
    bool json = false;
  };
  std::vector<Source> sources_;
};

// A message from a file of the kinds that LoadOptions::path names. Nothing is validated.
Status load_file(const std::string& path, Sources& sources, google::protobuf::Message& into);

struct Loaded {
  BootstrapPtr bootstrap;
  std::string bytes;  // of `bootstrap`
  Sources sources;  // for errors of what comes after (translation)
};

// Reads, merges, validates by the API's rules, and refuses what is not honoured.
Result<Loaded> load_bootstrap(const LoadOptions& options, const HonouredFields& honoured);

}  // namespace sluice::config
