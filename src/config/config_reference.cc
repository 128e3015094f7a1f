// docs/config-reference.md, made from the declarations.

#include <sstream>

#include "config/config_loader.h"
#include "config/field_table.h"

namespace phalanx {
namespace {

constexpr char kIntroduction[] = R"(# config.json: reference

Generated from the field declarations in `src/config/*_fields.inc`; edit those, then run `phx_config_test` with
`PHX_UPDATE_REFERENCE=1` in its environment.

Every key may be absent unless its default says "required"; an absent section has all its defaults. The file is strict
JSON (no comments, no trailing commas), at most 10 MB. All problems are reported together and end the start with exit
code 1; an unknown key is a warning that names the nearest known one.

State:
- **active**: has the effect described.
- **not yet**: accepted and checked, without effect in this version. Set away from its default, it is named at start.
- **not yet (with X)**: means nothing unless X is on, and this version refuses X.
- **ignored**: accepted for compatibility, will never have an effect; the reason follows.

Changes take effect at the next start, except where the state says "live".
)";

// Text for a table cell.
std::string Cell(std::string text) {
  for (size_t at = text.find('|'); at != std::string::npos; at = text.find('|', at + 2))
    text.insert(at, "\\");
  return text;
}

std::string DefaultText(const FieldDeclaration& field) {
  if (field.allowed.required) return "required";
  if (!field.allowed.absent.empty()) return field.allowed.absent;
  std::ostringstream text;
  text << '`' << DumpJson(field.default_value) << '`';
  return text.str();
}

std::string AllowedCell(const AllowedValues& allowed) {
  std::string text = allowed.ToString();
  for (const AllowedValues::LaterValue& later : allowed.later) {
    text += (text.empty() ? "" : "; ") + later.value + " is refused: " + later.reason;
  }
  if (allowed.later_above) {
    std::ostringstream bound;
    bound << allowed.later_above->first;
    text += "; above " + bound.str() + " is refused: " + allowed.later_above->second;
  }
  return text;
}

std::string StateText(const FieldState& state) {
  std::string text = "active";
  if (state.kind == FieldState::kIgnored) text = "ignored: " + state.reason;
  if (state.kind == FieldState::kNotYet)
    text = state.under.empty() ? "not yet" : "not yet (with " + state.under + ")";
  return state.needs_restart ? text : text + ", live";
}

void WriteSection(const SectionDeclaration& section, std::ostream& out) {
  out << "\n## " << (section.name.empty() ? "Top level" : section.name) << "\n\n" << section.meaning << "\n";
  if (!section.place.empty()) out << "Place in the file: `" << section.place << "`.\n";
  out << "\n| Key | Type | Allowed | Default | Meaning | State |\n|---|---|---|---|---|---|\n";
  for (const FieldDeclaration& field : section.fields) {
    out << "| `" << field.key << "` | " << field.type << " | " << Cell(AllowedCell(field.allowed)) << " | "
        << Cell(DefaultText(field)) << " | " << Cell(field.meaning) << " | " << Cell(StateText(field.state))
        << " |\n";
  }
}

}  // namespace

std::string ConfigReferenceMarkdown() {
  std::ostringstream out;
  out << kIntroduction;
  for (const SectionDeclaration* section : AllSections()) WriteSection(*section, out);
  out << "\n## Environment variables that locate the file or replace a field\n\n| Variable | Effect "
         "|\n|---|---|\n";
  for (const EnvironmentVariable& variable : kLocatingVariables) {
    out << "| `" << variable.name << "` | " << variable.meaning << " |\n";
  }
  out << "\nA value longer than 256 characters is ignored with a warning.\n";
  return out.str();
}

}  // namespace phalanx
