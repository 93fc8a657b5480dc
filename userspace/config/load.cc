#include "config/load.h"

#include <fcntl.h>
#include <google/protobuf/arena.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/text_format.h>
#include <google/protobuf/wire_format_lite.h>
#include <unistd.h>

#include <cerrno>
#include <optional>

#include "config/any.h"
#include "config/plainly_valid.h"
#include "config/tree.h"
#include "config/yaml_json.h"
#include "core/fd.h"
#include "envoy/config/bootstrap/v3/bootstrap.pb.h"

namespace sluice::config {

namespace pb = google::protobuf;
using envoy::config::bootstrap::v3::Bootstrap;

namespace {

constexpr size_t kMaxFileBytes = 256u << 20;

Result<std::string> read_file(const std::string& path) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return errno_error(errno, "cannot read the configuration file " + path);
  std::string text;
  char block[1 << 16];
  for (;;) {
    const ssize_t n = ::read(fd.get(), block, sizeof block);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error(errno, "cannot read the configuration file " + path);
    if (n == 0) return text;
    text.append(block, static_cast<size_t>(n));
    if (text.size() > kMaxFileBytes)
      return Error{path + " is larger than 256 MiB; this is not a configuration file"};
  }
}

// protobuf's text parser reports through this.
class FirstError : public pb::io::ErrorCollector {
 public:
  explicit FirstError(std::string_view source) : source_(source) {}
  void AddError(int line, pb::io::ColumnNumber column, const std::string& what) override {
    if (!error) error = error_at(source_, line + 1, column + 1, what);
  }
  std::optional<Error> error;

 private:
  std::string_view source_;
};

Status read_into(const std::string& path, std::string text, Sources& sources, pb::Message& into) {
  if (path.ends_with(".pb")) {
    if (!into.ParseFromString(text))
      return Error{path + " is not a binary " + into.GetDescriptor()->full_name() +
                   " (text belongs into .yaml, .json or .pb_text)"};
    return {};
  }
  if (path.ends_with(".pb_text")) {
    FirstError errors(path);
    pb::TextFormat::Parser parser;
    parser.RecordErrorsTo(&errors);
    parser.SetRecursionLimit(static_cast<int>(kMaxDepth));
    if (parser.ParseFromString(text, &into)) return {};
    return errors.error ? *errors.error
                        : Error{path + " is not the text form of a " + into.GetDescriptor()->full_name()};
  }
  const bool yaml = path.ends_with(".yaml") || path.ends_with(".yml");
  const std::string_view kept = sources.add(path, std::move(text));
  auto status = parse_text(kept, path, yaml ? Syntax::yaml : Syntax::json, into);
  if (!status.ok() && !yaml && !path.ends_with(".json"))
    return Error{std::move(status).error().message +
                 " (read as JSON, since the name does not end in .yaml, .yml or .json)"};
  return status;
}

// ---- finding a field's path in a document ----

std::string snake(std::string_view name) {
  std::string out;
  for (const char c : name) {
    if (c >= 'A' && c <= 'Z') {
      out += '_';
      out += static_cast<char>(c - 'A' + 'a');
    } else {
      out += c;
    }
  }
  return out;
}

struct Place {
  int line = 0, column = 0;
  size_t steps = 0;  // parts of the path that were found
};

// Takes the next part off a path: a name, an [index] or a ["key"].
struct Step {
  std::string_view name;
  std::optional<size_t> index;
};
std::optional<Step> take_step(std::string_view& path) {
  if (path.starts_with('.')) path.remove_prefix(1);
  if (path.starts_with("[\"")) {
    const size_t end = path.find("\"]", 2);
    if (end == std::string_view::npos) return std::nullopt;
    Step step{path.substr(2, end - 2), std::nullopt};
    path.remove_prefix(end + 2);
    return step;
  }
  if (path.starts_with('[')) {
    size_t i = 1, value = 0;
    for (; i < path.size() && path[i] >= '0' && path[i] <= '9' && i < 12; ++i)
      value = value * 10 + static_cast<size_t>(path[i] - '0');
    if (i == 1 || i >= path.size() || path[i] != ']') return std::nullopt;
    path.remove_prefix(i + 1);
    return Step{{}, value};
  }
  size_t end = 0;
  while (end < path.size() &&
         (std::isalnum(static_cast<unsigned char>(path[end])) || path[end] == '_' || path[end] == '@'))
    ++end;
  if (end == 0) return std::nullopt;
  Step step{path.substr(0, end), std::nullopt};
  path.remove_prefix(end);
  return step;
}

Place find(const Node& root, std::string_view path) {
  Place place;
  const Node* node = &root;
  while (auto step = take_step(path)) {
    const Node* below = nullptr;
    int line = 0, column = 0;
    if (step->index) {
      if (node->kind != Node::Kind::list) {
        below = *step->index == 0 ? node : nullptr;  // a lone value stands for a list of one
      } else if (*step->index < node->items.size()) {
        below = node->items[*step->index];
      }
      if (below != nullptr) {
        line = below->line;
        column = below->column;
      }
    } else if (node->kind == Node::Kind::map) {
      for (const auto& entry : node->entries) {
        if (entry.key != step->name && snake(entry.key) != step->name) continue;
        below = entry.value;
        line = entry.line;
        column = entry.column;
      }
    }
    if (below == nullptr) break;
    node = below;
    place = {line, column, place.steps + 1};
  }
  return place;
}

}  // namespace

std::string_view Sources::add(std::string name, std::string text) {
  const bool json = !name.ends_with("yaml") && !name.ends_with(".yml");
  return sources_.emplace_back(std::move(name), std::move(text), json).text;
}

Error Sources::locate(Error error) const {
  const std::string_view path = std::string_view(error.message).substr(0, error.message.find(": "));
  Place best;
  const Source* in = nullptr;
  for (const Source& source : sources_) {
    auto tree = source.json ? read_json(source.text, source.name) : read_yaml(source.text, source.name);
    if (!tree.ok() || (*tree)->root == nullptr) continue;
    const Place place = find(*(*tree)->root, path);
    if (place.steps == 0 || (in != nullptr && place.steps < best.steps)) continue;
    best = place;
    in = &source;
  }
  if (in == nullptr) return error;
  return Error{error_at(in->name, best.line, best.column, error.message).message, error.code};
}

Status load_file(const std::string& path, Sources& sources, pb::Message& into) {
  SLUICE_ASSIGN(std::string text, read_file(path));
  return read_into(path, std::move(text), sources, into);
}

Result<Loaded> load_bootstrap(const LoadOptions& options, const HonouredFields& honoured) {
  if (options.path.empty() && options.yaml.empty())
    return Error{"no configuration: give a file with -c FILE, or YAML with --config-yaml TEXT"};
  Loaded out;
  const auto arena = make_arena();
  const std::shared_ptr<Bootstrap> bootstrap(arena, pb::Arena::CreateMessage<Bootstrap>(arena.get()));
  if (!options.path.empty()) {
    SLUICE_TRY(load_file(options.path, out.sources, *bootstrap));
  }
  if (!options.yaml.empty()) {
    Bootstrap over;
    out.sources.add("--config-yaml", options.yaml);
    SLUICE_TRY(parse_text(options.yaml, "--config-yaml", Syntax::yaml, over));
    bootstrap->MergeFrom(over);
  }
  if (!options.service_node.empty()) bootstrap->mutable_node()->set_id(options.service_node);
  if (!options.service_cluster.empty()) bootstrap->mutable_node()->set_cluster(options.service_cluster);
  if (!options.service_zone.empty())
    bootstrap->mutable_node()->mutable_locality()->set_zone(options.service_zone);

  out.bytes = bootstrap->SerializePartialAsString();
  if (auto status = check(*bootstrap, honoured, FieldPath(), out.bytes); !status.ok())
    return out.sources.locate(std::move(status).error());
  out.bootstrap = bootstrap;
  return out;
}

namespace {

// A message's bytes but for those of one field.
std::string without(const std::string& bytes, int field) {
  using pb::internal::WireFormatLite;
  std::string out;
  pb::io::CodedInputStream in(reinterpret_cast<const uint8_t*>(bytes.data()), static_cast<int>(bytes.size()));
  for (;;) {
    const auto from = static_cast<size_t>(in.CurrentPosition());
    const uint32_t tag = in.ReadTag();
    if (tag == 0 || !WireFormatLite::SkipField(&in, tag)) return out;
    if (WireFormatLite::GetTagFieldNumber(tag) != field)
      out.append(bytes, from, static_cast<size_t>(in.CurrentPosition()) - from);
  }
}

BootstrapPtr parsed(const std::string& bytes) {
  const auto arena = make_arena();
  auto* made = pb::Arena::CreateMessage<Bootstrap>(arena.get());
  made->ParsePartialFromString(bytes);
  return BootstrapPtr(arena, made);
}

}  // namespace

KeptBootstrap::KeptBootstrap(std::string bytes)
    : bytes_(std::move(bytes)), rest_(without(bytes_, Bootstrap::kStaticResourcesFieldNumber)) {}

BootstrapPtr KeptBootstrap::without_static_resources() const {
  return parsed(rest_);
}

envoy::config::core::v3::Node KeptBootstrap::node() const {
  return without_static_resources()->node();
}

BootstrapPtr KeptBootstrap::message() const {
  return parsed(bytes_);
}

}  // namespace sluice::config
