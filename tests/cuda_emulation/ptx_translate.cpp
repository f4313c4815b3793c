/*
 * ptx_translate FILE.ptx [REGEX] > FILE.cpp - nvcc's PTX as C++ for the emulation
 *
 * So that what nvcc made of a kernel (optimised code, the operands of our inline instructions, its
 * approximations) runs on the processor too. Registers become variables, branches gotos, and an
 * instruction a statement over ptx_body.h. A kernel that needs something not known here is left out
 * and named on stderr; 1 is returned when there was an unknown instruction.
 *
 * Source: PTX ISA 9.0.
 */
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

typedef std::vector<std::string> strings;

/* Why a kernel cannot be translated. */
struct untranslatable {
    std::string why;
};

static std::string trim(const std::string &s)
{
    const size_t a = s.find_first_not_of(" \t\r\n"), b = s.find_last_not_of(" \t\r\n");
    return a == std::string::npos ? "" : s.substr(a, b - a + 1);
}

/* At commas outside braces and brackets. */
static strings split(const std::string &s, char by = ',')
{
    strings out;
    std::string one;
    int depth = 0;

    for (char c : s) {
        depth += (c == '{' || c == '[') - (c == '}' || c == ']');
        if (c == by && depth == 0) {
            out.push_back(trim(one));
            one.clear();
        } else {
            one += c;
        }
    }
    if (!trim(one).empty())
        out.push_back(trim(one));
    return out;
}

static strings list_of(const std::string &braces)
{
    return split(braces.substr(1, braces.size() - 2));
}

static std::string c_type(const std::string &t)
{
    static const std::map<std::string, std::string> types = {
        {"u8", "uint8_t"},   {"s8", "int8_t"},   {"b8", "uint8_t"},
        {"u16", "uint16_t"}, {"s16", "int16_t"}, {"b16", "uint16_t"},
        {"u32", "uint32_t"}, {"s32", "int32_t"}, {"b32", "uint32_t"},
        {"u64", "uint64_t"}, {"s64", "int64_t"}, {"b64", "uint64_t"},
        {"f32", "float"},    {"f64", "double"},  {"pred", "bool"}};
    const auto i = types.find(t);

    if (i == types.end())
        throw untranslatable{"type " + t};
    return i->second;
}

static size_t size_of(const std::string &t)
{
    return strtoul(t.c_str() + 1, nullptr, 10) / 8;
}

static size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

/* ---- one kernel ---------------------------------------------------------------------- */

struct kernel {
    std::string name, why;                /* why: it is left out */
    std::map<std::string, size_t> params; /* offsets in the parameter block */
    size_t param_bytes = 0;
    strings registers, body;
    std::map<std::string, size_t> shared; /* offsets in static shared memory */
    size_t shared_bytes = 0;
};

static std::map<std::string, size_t>
    module_shared; /* of variables outside kernels: sizes */

/* One instruction being translated. */
struct instruction {
    kernel *k;
    std::string op, type; /* the whole name; its last part */
    strings parts, operands;
    int line;

    bool has(const char *part) const
    {
        for (const std::string &p : parts)
            if (p == part)
                return true;
        return false;
    }
    std::string value(const std::string &operand) const;
    std::string as(int i, const std::string &t) const
    {
        return "as<" + c_type(t) + ">(" + value(operands.at((size_t)i)) + ")";
    }
    std::string as(int i) const
    {
        return as(i, type);
    }
    /* Writes an expression to operand i. */
    std::string set(const std::string &to, const std::string &e) const
    {
        return "set(" + value(to) + "," + e + ");";
    }
    std::string result(const std::string &e) const
    {
        return set(operands.at(0), e);
    }
    std::string address(const std::string &operand) const;
    std::string translate() const;
    std::string memory() const;
    std::string move() const;
    std::string convert() const;
    std::string compare() const;
    std::string arithmetic() const;
    std::string collective() const;
};

static bool is_number(const std::string &s)
{
    return isdigit((unsigned char)s[0]) || (s[0] == '-' && isdigit((unsigned char)s[1]));
}

std::string instruction::value(const std::string &x) const
{
    static const std::map<std::string, std::string> special = {
        {"%tid.x", "threadIdx.x"},  {"%tid.y", "threadIdx.y"},
        {"%tid.z", "threadIdx.z"},  {"%ctaid.x", "blockIdx.x"},
        {"%ctaid.y", "blockIdx.y"}, {"%ctaid.z", "blockIdx.z"},
        {"%ntid.x", "blockDim.x"},  {"%ntid.y", "blockDim.y"},
        {"%ntid.z", "blockDim.z"},  {"%nctaid.x", "gridDim.x"},
        {"%nctaid.y", "gridDim.y"}, {"%nctaid.z", "gridDim.z"}};
    const auto s = special.find(x);

    if (s != special.end())
        return s->second;
    if (x[0] == '%')
        return x.substr(1);
    if (x.rfind("0f", 0) == 0)
        return "bits_f32(0x" + x.substr(2) + "u)";
    if (x.rfind("0d", 0) == 0)
        return "bits_f64(0x" + x.substr(2) + "ull)";
    if (is_number(x))
        return strtoll(x.c_str(), nullptr, 0) == (int)strtoll(x.c_str(), nullptr, 0)
                   ? x
                   : x + "ll";
    if (x == "lx_dynamic_shared")
        return "DYNAMIC_SHARED";
    if (k->params.count(x))
        return "(uint64_t)(P+" + std::to_string(k->params.at(x)) + ")";
    if (!k->shared.count(x) && module_shared.count(x)) {
        k->shared_bytes = round_up(k->shared_bytes, 128);
        k->shared[x] = k->shared_bytes;
        k->shared_bytes += module_shared[x];
    }
    if (k->shared.count(x))
        return std::to_string(k->shared[x]) + "u";
    throw untranslatable{"operand " + x};
}

/* [register+4], [param+8], [shared+4]. */
std::string instruction::address(const std::string &operand) const
{
    static const std::regex form("\\[([^\\]+-]+)([+-]-?[0-9]+)?\\]");
    std::smatch m;

    if (!std::regex_match(operand, m, form))
        throw untranslatable{"address " + operand};
    const std::string base = m[1];
    const std::string plus = std::regex_replace(m[2].str(), std::regex("\\+-"), "-");
    if (has("param") && base[0] != '%') {
        if (!k->params.count(base))
            throw untranslatable{"a call"}; /* its arguments */
        return "(P+" + std::to_string(k->params.at(base)) + plus + ")";
    }
    if (has("local"))
        throw untranslatable{"local memory"};
    if (has("shared"))
        return "shared_at((uint32_t)(" + value(base) + plus + "))";
    return "((char*)(" + value(base) + plus + "))";
}

std::string instruction::memory() const
{
    const bool is_load = parts[0] == "ld";
    const std::string at = address(operands.at(is_load ? 1 : 0));
    const std::string what = operands.at(is_load ? 0 : 1);
    const strings registers = what[0] == '{' ? list_of(what) : strings{what};
    const size_t each = size_of(type);
    std::string out;

    if (registers.size() > 1 && !has("param"))
        out = "lx_emu::need_aligned(" + at + "," +
              std::to_string(each * registers.size()) + ");";
    for (size_t i = 0; i < registers.size(); i++) {
        const std::string p = at + "+" + std::to_string(i * each);
        if (is_load)
            out += set(registers[i], "load<" + c_type(type) + ">(" + p + ")");
        else
            out += "store<" + c_type(type) + ">(" + p + ",as<" + c_type(type) + ">(" +
                   value(registers[i]) + "));";
    }
    return out;
}

std::string instruction::move() const
{
    const std::string &to = operands.at(0), &from = operands.at(1);

    if (type == "pred")
        return value(to) + "=" + value(from) + ";";
    if (to[0] == '{') { /* a register into its halves, low first */
        const strings halves = list_of(to);
        const std::string half = type == "b64" ? "uint32_t" : "uint16_t";
        return set(halves.at(0), "(" + half + ")" + as(1)) +
               set(halves.at(1), "(" + half + ")(" + as(1) + ">>" +
                                     (type == "b64" ? "32" : "16") + ")");
    }
    if (from[0] == '{') {
        const strings halves = list_of(from);
        const std::string half = type == "b64" ? "uint32_t" : "uint16_t",
                          whole = c_type(type);
        return result("((" + whole + ")as<" + half + ">(" + value(halves.at(0)) + ")|(" +
                      whole + ")as<" + half + ">(" + value(halves.at(1)) + ")<<" +
                      (type == "b64" ? "32" : "16") + ")");
    }
    return result(as(1));
}

std::string instruction::convert() const
{
    const std::string from = type, to = parts.at(parts.size() - 2);
    std::string e;

    if (from == "f16" || to == "f16" || to == "bf16") {
        if (from == "f16" && to == "f32")
            return result("lx_f32_from_f16(" + as(1, "b16") + ")");
        return result((to == "f16" ? "lx_f16_from_f32(" : "lx_bf16_from_f32(") +
                      as(1, "f32") + ")");
    }
    e = as(1, from);
    if (from[0] == 'f') {
        const bool is_exact =
            (to == "f64" && from == "f32") || (to == from && has("sat"));
        if (has("rni"))
            e = "rint(" + e + ")";
        else if (has("rzi"))
            e = "trunc(" + e + ")";
        else if (has("rmi"))
            e = "floor(" + e + ")";
        else if (has("rpi"))
            e = "ceil(" + e + ")";
        else if (!is_exact && !has("rn"))
            throw untranslatable{"rounding of " + op};
    }
    e = "(" + c_type(to) + ")(" + e + ")";
    return result(has("sat") ? "saturate(" + e + ")" : e);
}

std::string instruction::compare() const
{
    static const std::map<std::string, std::string> signs = {
        {"eq", "=="},  {"ne", "!="}, {"lt", "<"},   {"le", "<="},
        {"gt", ">"},   {"ge", ">="}, {"lo", "<"},   {"ls", "<="},
        {"hi", ">"},   {"hs", ">="}, {"equ", "!="}, {"neu", "=="},
        {"ltu", ">="}, {"leu", ">"}, {"gtu", "<="}, {"geu", "<"}};
    const std::string how = parts.at(1);
    const bool is_unordered = how.size() == 3; /* true for NaN: not the opposite */

    if (parts.size() != 3 || !signs.count(how))
        throw untranslatable{op};
    return value(operands.at(0)) + "=" + (is_unordered ? "!" : "") + "(" + as(1) +
           signs.at(how) + as(2) + ");";
}

static std::string wide_of(const std::string &t)
{
    return c_type(t.substr(0, 1) + std::to_string(size_of(t) * 16));
}

std::string instruction::arithmetic() const
{
    static const std::map<std::string, std::string> signs = {
        {"add", "+"}, {"sub", "-"}, {"mul", "*"}, {"div", "/"},
        {"rem", "%"}, {"and", "&"}, {"or", "|"},  {"xor", "^"}};
    static const std::map<std::string, std::string> functions = {
        {"sqrt", "std::sqrt"}, {"ex2", "exp2f"}, {"abs", "std::abs"},     {"neg", "-"},
        {"rcp", "reciprocal"}, {"lg2", "log2f"}, {"rsqrt", "1/std::sqrt"}};
    const std::string &name = parts[0];

    if (has("cc") || name == "addc" || name == "subc" || name == "madc")
        throw untranslatable{"carry chains"};
    if (type == "pred") {
        if (name == "not")
            return value(operands.at(0)) + "=!" + value(operands.at(1)) + ";";
        return value(operands.at(0)) + "=" + value(operands.at(1)) +
               (name == "and"  ? "&&"
                : name == "or" ? "||"
                               : "!=") +
               value(operands.at(2)) + ";";
    }
    if (has("wide"))
        return result("((" + wide_of(type) + ")" + as(1) + "*(" + wide_of(type) + ")" +
                      as(2) + ")");
    if (name == "mul" && has("hi"))
        return result("(" + c_type(type) + ")((" + wide_of(type) + ")" + as(1) + "*(" +
                      wide_of(type) + ")" + as(2) + ">>" +
                      std::to_string(size_of(type) * 8) + ")");
    if (name == "mad")
        return result("(" + c_type(type) + ")(" + as(1) + "*" + as(2) + "+" + as(3) +
                      ")");
    if (name == "fma")
        return result((has("rm") ? "fma_down(" : "std::fma(") + as(1) + "," + as(2) +
                      "," + as(3) + ")");
    if (name == "min" || name == "max")
        return result((type[0] == 'f' ? "std::f" + name : name) + "(" + as(1) + "," +
                      as(2) + ")");
    if (name == "shl" || name == "shr")
        return result("(" + c_type(type) + ")(" + as(2, "u32") +
                      ">=" + std::to_string(size_of(type) * 8) + "?" +
                      (name == "shr" && type[0] == 's' ? "-(" + as(1) + "<0)" : "0") +
                      ":" + as(1) + (name == "shl" ? "<<" : ">>") + as(2, "u32") + ")");
    if (name == "selp")
        return result("(" + value(operands.at(3)) + "?" + as(1) + ":" + as(2) + ")");
    if (name == "not")
        return result("(" + c_type(type) + ")~" + as(1));
    if (name == "copysign") /* the sign of the first */
        return result("std::copysign(" + as(2) + "," + as(1) + ")");
    if (name == "bfi")
        return result("insert_bits(" + as(1) + "," + as(2) + "," + as(3, "u32") + "," +
                      as(4, "u32") + ")");
    if (name == "clz")
        return result("(uint32_t)(" + as(1) + "?__builtin_clzll((uint64_t)" + as(1) +
                      ")-" + std::to_string(64 - size_of(type) * 8) + ":" +
                      std::to_string(size_of(type) * 8) + ")");
    if (functions.count(name))
        return result("(" + c_type(type) + ")(" + functions.at(name) + "(" + as(1) +
                      "))");
    if (signs.count(name))
        return result("(" + c_type(type) + ")(" + as(1) + signs.at(name) + as(2) + ")");
    throw untranslatable{"instruction " + op};
}

static std::string join(const instruction &i, const strings &registers,
                        const std::string &t)
{
    std::string out;
    for (const std::string &r : registers)
        out += (out.empty() ? "" : ",") + ("as<" + t + ">(" + i.value(r) + ")");
    return out;
}

std::string instruction::collective() const
{
    const std::string at = std::to_string(line);
    std::string out;

    if (parts[0] == "bar" && has("warp"))
        return "lx_emu::meet(lx_emu::end_sync," + as(0, "u32") + ",{\"ptx\"," + at +
               "});";
    if (parts[0] == "bar" || parts[0] == "barrier")
        return "lx_emu::wait_for_block(0,{\"ptx\"," + at + "});";
    if (parts[0] == "shfl")
        return set(split(operands.at(0), '|').at(0),
                   "ptx_shuffle<'" + parts.at(2).substr(0, 1) + "'>(" + as(1, "u32") +
                       "," + as(2, "u32") + "," + as(3, "u32") + "," + as(4, "u32") +
                       "," + at + ")");
    const strings to = list_of(operands.at(0));
    if (parts[0] == "ldmatrix") {
        out = "{uint32_t d[4];lx_emu::load_matrix(d," + address(operands.at(1)) + "," +
              (has("trans") ? "1" : "0") + ",{\"ptx\"," + at + "});";
    } else { /* mma.m16n8k16 */
        if (!has("m16n8k16"))
            throw untranslatable{op};
        out = "{const uint32_t a[4]={" +
              join(*this, list_of(operands.at(1)), "uint32_t") + "},b[2]={" +
              join(*this, list_of(operands.at(2)), "uint32_t") + "};float d[4]={" +
              join(*this, list_of(operands.at(3)), "float") +
              "};lx_emu::multiply(lx_emu::end_mma_" + (has("bf16") ? "bf16" : "f16") +
              ",d,a,b,{\"ptx\"," + at + "});";
    }
    for (size_t i = 0; i < to.size(); i++)
        out += set(to[i], "d[" + std::to_string(i) + "]");
    return out + "}";
}

std::string instruction::translate() const
{
    static const std::set<std::string> together = {"bar", "barrier", "shfl", "ldmatrix",
                                                   "mma"};
    const std::string &name = parts[0];

    if (name == "ld" || name == "st")
        return memory();
    if (name == "mov")
        return move();
    if (name == "cvt")
        return convert();
    if (name == "setp")
        return compare();
    if (name == "cvta") {
        if (has("to"))
            return result(has("shared")
                              ? "offset_of_shared(" + value(operands.at(1)) + ")"
                              : value(operands.at(1)));
        return result(has("shared")
                          ? "(uint64_t)shared_at((uint32_t)" + value(operands.at(1)) + ")"
                          : value(operands.at(1)));
    }
    if (name == "bra")
        return "goto " + std::regex_replace(operands.at(0), std::regex("\\$"), "") + ";";
    if (name == "ret" || name == "exit")
        return "return;";
    if (together.count(name))
        return collective();
    if (op == "cp.async.commit_group")
        return "lx_emu::copy_commit();";
    if (op == "cp.async.wait_group")
        return "lx_emu::copy_wait(" + operands.at(0) + ");";
    if (name == "cp") {
        instruction from = *this;
        from.parts = {"cp", "global"};
        instruction to = *this;
        to.parts = {"cp", "shared"};
        return "lx_emu::copy_async(" + to.address(operands.at(0)) + "," +
               from.address(operands.at(1)) + ",16," + as(3, "s32") + ");";
    }
    if (name == "call" || name == "call_uni")
        throw untranslatable{"a call"};
    return arithmetic();
}

/* ---- the file ------------------------------------------------------------------------ */

static std::map<std::string, std::string> files; /* of .loc lines */

/* .param .u64 .ptr .align 1 name, or .param .align 8 .b8 name[56] */
static bool take_parameter(kernel *k, const std::string &l)
{
    static const std::regex form("\\.param\\s+(?:\\.align\\s+(\\d+)\\s+)?\\.(\\w+)\\s+(?:"
                                 "\\.ptr\\s+(?:\\.\\w+\\s+)?\\.align\\s+\\d+\\s+)?"
                                 "(\\w+)(?:\\[(\\d+)\\])?,?");
    std::smatch m;

    if (!std::regex_match(l, m, form))
        return false;
    const size_t each = size_of(m[2]),
                 bytes = m[4].matched ? std::stoul(m[4]) * each : each;
    k->param_bytes = round_up(k->param_bytes, m[1].matched ? std::stoul(m[1]) : each);
    k->params[m[3]] = k->param_bytes;
    k->param_bytes += bytes;
    return true;
}

static bool take_declaration(kernel *k, const std::string &l)
{
    static const std::regex reg("\\.reg\\s+\\.(\\w+)\\s+%(\\w+)<(\\d+)>;");
    static const std::regex shared(
        "\\.shared\\s+\\.align\\s+(\\d+)\\s+\\.b8\\s+(\\w+)\\[(\\d+)\\];");
    std::smatch m;

    if (std::regex_match(l, m, shared)) {
        if (!k) {
            module_shared[m[2]] = std::stoul(m[3]);
            return true;
        }
        k->shared_bytes = round_up(k->shared_bytes, std::stoul(m[1]));
        k->shared[m[2]] = k->shared_bytes;
        k->shared_bytes += std::stoul(m[3]);
        return true;
    }
    if (!k || !std::regex_match(l, m, reg))
        return false;
    std::string line = c_type(m[1]) + " ";
    for (int i = 1; i < std::stoi(m[3]); i++)
        line += (i > 1 ? "," : "") + m[2].str() + std::to_string(i) + "=0";
    if (std::stoi(m[3]) > 1)
        k->registers.push_back(line + ";");
    return true;
}

static void take_instruction(kernel *k, const std::string &text, int line)
{
    static const std::regex form("(?:@(!?)%(\\w+)\\s+)?([a-z][\\w.:]*)\\s*(.*)");
    std::smatch m;

    if (!std::regex_match(text, m, form))
        throw untranslatable{"line " + std::to_string(line) + ": " + text};
    instruction i{k, m[3], "", split(m[3], '.'), split(m[4]), line};
    i.type = i.parts.back();
    const std::string statement = i.translate();
    k->body.push_back(m[2].matched
                          ? "if(" + m[1].str() + m[2].str() + "){" + statement + "}"
                          : statement);
}

/* A line of a kernel's body. */
static void take_line(kernel *k, std::string l, int line)
{
    static const std::regex loc("\\.loc\\s+(\\d+)\\s+(\\d+).*"), label("(\\$\\w+):");
    std::smatch m;

    if (std::regex_match(l, m, loc)) {
        if (files.count(m[1]))
            k->body.push_back("#line " + m[2].str() + " \"" + files[m[1]] + "\"");
        return;
    }
    if (std::regex_match(l, m, label)) {
        k->body.push_back(m[1].str().substr(1) + ":;");
        return;
    }
    if (l[0] == '.' || l == "{" || l == "}" || l == ")" || l == "(")
        return;
    if (l[0] == '{') /* inline asm of the toolkit's headers */
        l = trim(l.substr(1, l.find_last_of('}') - 1));
    for (const std::string &one : split(l, ';'))
        take_instruction(k, one, line);
}

static std::vector<kernel> read_file(const char *path)
{
    static const std::regex entry("(?:\\.visible |\\.weak )?\\.entry (\\w+)\\(?.*");
    static const std::regex file("\\s*\\.file\\s+(\\d+)\\s+\"([^\"]*)\".*");
    std::vector<kernel> kernels;
    strings lines;
    std::smatch m;
    bool is_in_kernel = false;

    std::ifstream in(path);
    for (std::string l; std::getline(in, l);) {
        if (std::regex_match(l, m, file))
            files[m[1]] = m[2];
        lines.push_back(trim(l.substr(0, l.find("//"))));
    }
    for (size_t i = 0; i < lines.size(); i++) {
        const std::string &l = lines[i];
        if (std::regex_match(l, m, entry)) {
            kernels.push_back({});
            kernels.back().name = m[1];
            is_in_kernel = true;
            continue;
        }
        kernel *k = is_in_kernel ? &kernels.back() : nullptr;
        if (l.empty() || (k && take_parameter(k, l)) || take_declaration(k, l))
            continue;
        if (l.rfind(".func", 0) == 0)
            is_in_kernel = false; /* the kernels that call it are left out */
        else if (k && k->why.empty())
            try {
                take_line(k, l, (int)i + 1);
            } catch (const untranslatable &u) {
                k->why = u.why;
            }
    }
    return kernels;
}

int main(int argc, char **argv)
{
    bool is_unknown = false;

    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: ptx_translate FILE.ptx [REGEX OF KERNELS] > FILE.cpp\n");
        return 2;
    }
    const std::regex wanted(argc > 2 ? argv[2] : ".*");
    puts("#include \"tests/cuda_emulation/ptx_body.h\"");
    for (const kernel &k : read_file(argv[1])) {
        if (!std::regex_search(k.name, wanted))
            continue;
        if (!k.why.empty()) {
            fprintf(stderr, "ptx_translate: %s left out: %s\n", k.name.c_str(),
                    k.why.c_str());
            is_unknown = is_unknown || k.why.rfind("instruction", 0) == 0;
            continue;
        }
        printf("static void body_%s(const unsigned char*P){(void)P;\n", k.name.c_str());
        for (const std::string &l : k.registers)
            puts(l.c_str());
        for (const std::string &l : k.body)
            puts(l.c_str());
        printf("\n}\nstatic lx_emu::ptx_entry entry_%s(\"%s\",body_%s,%zu);\n",
               k.name.c_str(), k.name.c_str(), k.name.c_str(), k.param_bytes);
    }
    return is_unknown;
}
