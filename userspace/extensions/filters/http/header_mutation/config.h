#pragma once

#include "sluice/ext/registry.h"

namespace sluice::extensions::header_mutation {

ext::HttpFilterExtension extension();

}  // namespace sluice::extensions::header_mutation
