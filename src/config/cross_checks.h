#pragma once

#include "config/section_reader.h"

namespace phalanx {

// Rules between fields. First fills in what an absent field takes from another one (managementPort from port,
// worldSize from npuDeviceIds, ...), then checks, then makes the documented silent adjustments and reports
// them. A field with a problem of its own is left out of further rules, so that one mistake is told once.
void CheckAcrossFields(const PresentFields& present, ServeConfig* config, ConfigReport* report);

}  // namespace phalanx
