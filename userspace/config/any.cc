#include "config/any.h"

#include <google/protobuf/any.pb.h>
#include <google/protobuf/arena.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <cassert>
#include <string>
#include <string_view>
#include <unordered_map>

#include "config/protos.h"
#include "config/yaml_json.h"
#include "udpa/type/v1/typed_struct.pb.h"
#include "xds/type/v3/typed_struct.pb.h"

namespace sluice::config {

namespace pb = google::protobuf;

namespace {

constexpr size_t kLarge = 4096;  // bytes of an Any that is worth keeping
constexpr size_t kMaxArenaBlock = 64 << 10;

thread_local KeepContents* keeper = nullptr;

}  // namespace

std::shared_ptr<pb::Arena> make_arena() {
  pb::ArenaOptions options;
  options.max_block_size = kMaxArenaBlock;
  return std::make_shared<pb::Arena>(options);
}

// ---- contents that are kept ----

struct KeepContents::Impl {
  struct Kept {
    std::string type_url;
    MessagePtr content;
  };
  // By the bytes themselves: where they stood may be somebody else's by now.
  std::unordered_multimap<std::string, Kept> by_bytes;
};

KeepContents::KeepContents() : impl_(std::make_unique<Impl>()) {
  assert(keeper == nullptr);
  keeper = this;
}

KeepContents::~KeepContents() {
  keeper = nullptr;
}

void KeepContents::add(const pb::Any& any, const MessagePtr& content) {
  if (keeper != nullptr && any.value().size() >= kLarge)
    keeper->impl_->by_bytes.emplace(any.value(), Impl::Kept{any.type_url(), content});
}

MessagePtr content_of(const pb::Any& any, const pb::Descriptor& type) {
  const bool large = any.value().size() >= kLarge;
  if (large && keeper != nullptr) {
    const auto [begin, end] = keeper->impl_->by_bytes.equal_range(any.value());
    for (auto it = begin; it != end; ++it)
      if (it->second.type_url == any.type_url()) return it->second.content;
  }
  MessagePtr content;
  bool good = false;
  if (large) {
    const auto arena = make_arena();
    pb::Message* message = prototype(type).New(arena.get());
    good = message->ParseFromString(any.value());
    content = MessagePtr(arena, message);
  } else {
    std::shared_ptr<pb::Message> message(prototype(type).New());
    good = message->ParseFromString(any.value());
    content = std::move(message);
  }
  if (!good) return nullptr;
  KeepContents::add(any, content);
  return content;
}

// ---- what an extension is given ----

namespace {

Result<const pb::Descriptor*> type_of(const std::string& type_url, const FieldPath& path) {
  if (type_url.empty()) return Error{path.error("is empty: \"@type\" is missing, which names its type")};
  const std::string_view name = std::string_view(type_url).substr(type_url.rfind('/') + 1);
  const pb::Descriptor* type = find_message_type(name);
  if (type == nullptr)
    return Error{
        path.error(std::string(name) + " is not a type this version of Sluice knows" + type_remedy(name))};
  return type;
}

template <typename TypedStruct>
Result<MessagePtr> from_typed_struct(const pb::Message& content, const FieldPath& path) {
  const auto& typed = static_cast<const TypedStruct&>(content);
  SLUICE_ASSIGN(const pb::Descriptor* type, type_of(typed.type_url(), path.field("type_url")));
  std::shared_ptr<pb::Message> message(prototype(*type).New());
  SLUICE_TRY(parse_struct(typed.value(), path.field("value"), *message));
  return MessagePtr(std::move(message));
}

}  // namespace

Result<MessagePtr> unpack(const pb::Any& any, const FieldPath& path) {
  SLUICE_ASSIGN(const pb::Descriptor* type, type_of(any.type_url(), path));
  MessagePtr message = content_of(any, *type);
  if (!message) return Error{path.error("the bytes are not a " + type->full_name())};
  if (type == udpa::type::v1::TypedStruct::descriptor())
    return from_typed_struct<udpa::type::v1::TypedStruct>(*message, path);
  if (type == xds::type::v3::TypedStruct::descriptor())
    return from_typed_struct<xds::type::v3::TypedStruct>(*message, path);
  return message;
}

}  // namespace sluice::config
