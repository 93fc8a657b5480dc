#pragma once

#include <memory>
#include <string_view>

#include "model/cluster.h"
#include "model/subsets.h"
#include "sluice/ext/upstream.h"

namespace envoy::config::core::v3 {
class Metadata;
}
namespace google::protobuf {
class Struct;
}

// "envoy.lb" of metadata, which subsets are made of and chosen by.
namespace sluice::config {

// Of a route, or of a weighted cluster over its route's.
ext::MetadataMatch to_metadata_match(const envoy::config::core::v3::Metadata& in);
ext::MetadataMatch to_metadata_match(const envoy::config::core::v3::Metadata& in,
                                     const envoy::config::core::v3::Metadata& outer);
ext::MetadataMatch::Criteria to_criteria(const google::protobuf::Struct& in);

// What it says of an endpoint.
void add_metadata(const envoy::config::core::v3::Metadata& in, model::Endpoint& out);
// Of an endpoint, in that namespace; null: it has none.
std::shared_ptr<const model::LbMetadata> to_lb_metadata(const envoy::config::core::v3::Metadata& in,
                                                        std::string_view filter = "envoy.lb");

}  // namespace sluice::config
