#include "xds/delta_response.h"

#include "config/convert.h"
#include "config/wire.h"
#include "core/wyhash.h"

namespace sluice::xds {

using config::wire::Field;
using config::wire::Kind;
using config::wire::take_field;

namespace {

// Text that needs no look at its UTF-8, which protobuf insists on.
bool is_ascii(std::string_view text) {
  unsigned char all = 0;
  for (const char c : text) all |= static_cast<unsigned char>(c);
  return all < 0x80;
}

}  // namespace

TakenDelta::TakenDelta() : arena_(arena_options()) {}

bool TakenDelta::take_plain(std::string_view bytes, Item& item, std::string_view& url) {
  constexpr uint64_t kVersion = 1, kResource = 2, kName = 3;  // of a Resource
  constexpr uint64_t kTypeUrl = 1, kValue = 2;  // of an Any
  bool resource = false;
  for (Field field; !bytes.empty();) {
    if (!take_field(bytes, field) || field.kind != Kind::bytes) return false;
    if (field.number == kName && is_ascii(field.content)) {
      item.name = field.content;
    } else if (field.number == kVersion && is_ascii(field.content)) {
      item.version = field.content;
    } else if (field.number == kResource) {
      resource = true;  // there again, what it says is merged into what the one before says
      for (std::string_view any = field.content; !any.empty();) {
        if (!take_field(any, field) || field.kind != Kind::bytes) return false;
        if (field.number == kTypeUrl && is_ascii(field.content))
          url = field.content;
        else if (field.number == kValue)
          item.value = field.content;
        else
          return false;
      }
    } else {
      return false;
    }
  }
  return resource;
}

bool TakenDelta::take_resource(std::string_view bytes) {
  bytes = copy_to(arena_, bytes);
  std::string_view url;
  Item item;
  if (take_plain(bytes, item, url)) {
    item.hash = wyhash(item.value);
    item.url = index_of(url);
  } else {
    auto& parsed = *google::protobuf::Arena::CreateMessage<envoy::service::discovery::v3::Resource>(&arena_);
    if (!parsed.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return false;
    item = {
        .name = {}, .version = {}, .value = {}, .hash = wyhash(parsed.resource().value()), .parsed = &parsed};
  }
  items_.push_back(item);
  return true;
}

DeltaResource TakenDelta::resource(size_t i) const {
  const Item& item = items_[i];
  if (item.parsed == nullptr)
    return {.name = item.name,
            .version = item.version,
            .has_resource = true,
            .url = urls[item.url],
            .value = item.value,
            .hash = item.hash,
            .ttl = {}};
  const auto& r = *item.parsed;
  DeltaResource out{.name = r.name(),
                    .version = r.version(),
                    .has_resource = r.has_resource(),
                    .has_aliases = r.aliases_size() > 0,
                    .url = r.resource().type_url(),
                    .value = r.resource().value(),
                    .hash = item.hash,
                    .ttl = {}};
  if (r.has_ttl()) out.ttl = config::to_duration(r.ttl());
  return out;
}

}  // namespace sluice::xds
