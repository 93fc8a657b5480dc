#include "config/plain_assignment.h"

#include <algorithm>
#include <string>
#include <utility>

#include "config/translate_metadata.h"
#include "config/wire.h"
#include "envoy/config/core/v3/base.pb.h"

namespace sluice::config {
namespace {

using wire::Field;
using wire::Kind;
using wire::take_field;

// The fields of one message, of which each may come once; a list's are let through by the caller.
class Once {
 public:
  // False: seen before.
  bool operator()(uint64_t number) { return number < 32 && !std::exchange(seen_[number], true); }

 private:
  bool seen_[32] = {};
};

// Text that needs no look at its UTF-8.
bool take_text(const Field& field, std::string& out) {
  if (field.kind != Kind::bytes) return false;
  if (std::ranges::any_of(field.content, [](char c) { return static_cast<unsigned char>(c) >= 0x80; }))
    return false;
  out = field.content;
  return true;
}

// A google.protobuf.UInt32Value of 1 or more.
bool take_weight(const Field& field, uint32_t& out) {
  std::string_view bytes = field.content;
  Field value;
  if (field.kind != Kind::bytes || !take_field(bytes, value) || !bytes.empty()) return false;
  if (value.number != 1 || value.kind != Kind::varint || value.value == 0 || value.value > UINT32_MAX)
    return false;
  out = static_cast<uint32_t>(value.value);
  return true;
}

bool take_socket_address(std::string_view bytes, Address& out) {
  IpAddress ip;
  uint64_t port = 0;
  Once once;
  Field field;
  bool has_ip = false, has_port = false;
  while (!bytes.empty()) {
    if (!take_field(bytes, field) || !once(field.number)) return false;
    if (field.number == 2 && field.kind == Kind::bytes) {
      auto parsed = IpAddress::parse(field.content);
      if (!parsed.ok()) return false;
      ip = *parsed;
      has_ip = true;
    } else if (field.number == 3 && field.kind == Kind::varint && field.value <= 65535) {
      port = field.value;
      has_port = true;
    } else {
      return false;
    }
  }
  if (!has_ip || !has_port) return false;
  out = Address(ip, static_cast<uint16_t>(port));
  return true;
}

bool take_address(const Field& in, Address& out) {
  std::string_view bytes = in.content;
  Field field;
  return in.kind == Kind::bytes && take_field(bytes, field) && bytes.empty() && field.number == 1 &&
         field.kind == Kind::bytes && take_socket_address(field.content, out);
}

bool take_health(const Field& field, model::HealthStatus& out) {
  if (field.kind != Kind::varint) return false;
  switch (field.value) {  // envoy.config.core.v3.HealthStatus
    case 0:  // UNKNOWN
    case 1:  // HEALTHY
      out = model::HealthStatus::healthy;
      return true;
    case 2:  // UNHEALTHY
    case 3:  // DRAINING
    case 4:  // TIMEOUT
      out = model::HealthStatus::unhealthy;
      return true;
    case 5:
      out = model::HealthStatus::degraded;
      return true;
    default:
      return false;
  }
}

class Reader {
 public:
  bool assignment(std::string_view bytes, model::Assignment& out) {
    Once once;
    Field field;
    std::string name;
    while (!bytes.empty()) {
      if (!take_field(bytes, field)) return false;
      if (field.number == 2 && field.kind == Kind::bytes) {
        if (!locality(field.content, out.localities.emplace_back())) return false;
      } else if (field.number != 1 || !once(1) || !take_text(field, name)) {
        return false;
      }
    }
    return !name.empty();
  }

 private:
  bool locality(std::string_view bytes, model::Locality& out) {
    out.endpoints.reserve(count(bytes));
    Once once;
    Field field;
    while (!bytes.empty()) {
      if (!take_field(bytes, field)) return false;
      if (field.number == 2 && field.kind == Kind::bytes) {
        if (!endpoint(field.content, out.endpoints.emplace_back())) return false;
        continue;
      }
      if (!once(field.number)) return false;
      bool good = false;
      if (field.number == 1)
        good = names(field, out);
      else if (field.number == 3)
        good = take_weight(field, out.weight);
      else if (field.number == 5 && field.kind == Kind::varint && field.value <= 128)
        good = true, out.priority = static_cast<uint32_t>(field.value);
      if (!good) return false;
    }
    return true;
  }

  static size_t count(std::string_view bytes) {
    size_t endpoints = 0;
    for (Field field; !bytes.empty() && take_field(bytes, field);) endpoints += field.number == 2;
    return endpoints;
  }

  static bool names(const Field& in, model::Locality& out) {
    if (in.kind != Kind::bytes) return false;
    Once once;
    Field field;
    for (std::string_view bytes = in.content; !bytes.empty();) {
      if (!take_field(bytes, field) || !once(field.number)) return false;
      std::string* const name = field.number == 1   ? &out.region
                                : field.number == 2 ? &out.zone
                                : field.number == 3 ? &out.sub_zone
                                                    : nullptr;
      if (name == nullptr || !take_text(field, *name)) return false;
    }
    return true;
  }

  // An LbEndpoint.
  bool endpoint(std::string_view bytes, model::Endpoint& out) {
    Once once;
    Field field;
    bool has_address = false;
    while (!bytes.empty()) {
      if (!take_field(bytes, field) || !once(field.number)) return false;
      bool good = false;
      if (field.number == 1)
        good = has_address = place(field, out);
      else if (field.number == 2)
        good = take_health(field, out.health);
      else if (field.number == 3)
        good = metadata(field, out);
      else if (field.number == 4)
        good = take_weight(field, out.weight);
      if (!good) return false;
    }
    return has_address;
  }

  // An Endpoint.
  static bool place(const Field& in, model::Endpoint& out) {
    if (in.kind != Kind::bytes) return false;
    Once once;
    Field field;
    bool has_address = false;
    for (std::string_view bytes = in.content; !bytes.empty();) {
      if (!take_field(bytes, field) || !once(field.number)) return false;
      if (field.number == 1 && take_address(field, out.address))
        has_address = true;
      else if (field.number != 3 || !take_text(field, out.hostname))
        return false;
    }
    return has_address;
  }

  // Mostly the last one's again.
  bool metadata(const Field& in, model::Endpoint& out) {
    if (in.kind != Kind::bytes) return false;
    if (in.content != last_) {
      // filter_metadata with names, nothing else.
      Field field, key;
      for (std::string_view bytes = in.content; !bytes.empty();) {
        if (!take_field(bytes, field) || field.number != 1 || field.kind != Kind::bytes) return false;
        std::string_view entry = field.content;
        if (!take_field(entry, key) || key.number != 1 || key.content.empty()) return false;
        if (!take_field(entry, key) || key.number != 2 || !entry.empty()) return false;
      }
      envoy::config::core::v3::Metadata message;
      if (!message.ParseFromArray(in.content.data(), static_cast<int>(in.content.size()))) return false;
      made_ = {};
      add_metadata(message, made_);
      last_ = in.content;
    }
    out.lb_metadata = made_.lb_metadata;
    out.transport_metadata = made_.transport_metadata;
    out.canary = made_.canary;
    out.hash_key = made_.hash_key;
    return true;
  }

  std::string_view last_;
  model::Endpoint made_;  // has what this metadata says
};

}  // namespace

std::shared_ptr<const model::Assignment> read_plain_assignment(std::string_view bytes) {
  auto out = std::make_shared<model::Assignment>();
  if (!Reader().assignment(bytes, *out)) return nullptr;
  return out;
}

}  // namespace sluice::config
