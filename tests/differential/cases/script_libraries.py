"""The libraries of scripts: cjson, cmsgpack, bit, struct."""

from tests.differential.case import Case
from tests.differential.cases.scripting import evaluated

CASES: list[Case] = [
    evaluated(
        "cjson-encode",
        "return cjson.encode({1,2,3})",
        "return cjson.encode({})",
        "return cjson.encode({a=1})",
        "return cjson.encode({a={b={c={1,2,{d='x'}}}}})",
        "return cjson.encode('a\"b\\\\c/d\\n\\t\\r\\b\\f\\0\\1\\31\\127\\128\\255')",
        "return cjson.encode({1,nil,3})",
        "return cjson.encode({[1]=1,[5]=5})",
        "return cjson.encode({[1]=1,[50]=5})",
        "return cjson.encode({[1.5]=1})",
        "return cjson.encode({[0]=1})",
        "return cjson.encode({[true]=1})",
        "return cjson.encode(function() end)",
        "return cjson.encode({function() end})",
        "return cjson.encode(1/0)",
        "return cjson.encode(0/0)",
        "return cjson.encode(nil)",
        "return cjson.encode(cjson.null)",
        "return cjson.encode({cjson.null, true, false})",
        "return cjson.encode()",
        "return cjson.encode(1,2)",
        (
            "return cjson.encode(0.1) .. ' ' .. cjson.encode(1e15) .. ' ' .. cjson.encode(1e14) .. ' ' .. "
            "cjson.encode(123456789012345678) .. ' ' .. cjson.encode(-0.5) .. ' ' .. cjson.encode(1/3)"
        ),
        "local t={} t[1]=t return cjson.encode(t)",
        "return cjson.encode({x={'a/b', 'c\"d', {'e', 'f', 1, {'g'}}}})",
        "return cjson.encode({'a', 'b', {e={'d', {}}}, 'f'})",
        "return cjson.encode({['g/h']='i', [12]='j'})",
        "return cjson.encode({function() end, [100]=1})",
        "local t={} for i=1,1000 do t={t} end return #cjson.encode(t)",
        "local t={} for i=1,999 do t={t} end return #cjson.encode(t)",
        "return type(cjson.null)",
        "return cmsgpack.pack(cjson.null)",
        "return cjson.encode({redis.call('time')[1] ~= nil})",
    ),
    evaluated(
        "cjson-decode",
        "return cjson.decode('[1,2,3]')",
        'return cjson.decode(\'{"a":[1,"x",null,true,false,{"b":1.5}]}\').a',
        'return cjson.decode(\'{"a":[1,"x",null,true,false,{"b":1.5}]}\').a[6].b * 2',
        "return cjson.decode('null')",
        "return tostring(cjson.decode('[null]')[1] == cjson.null)",
        (
            "return {type(cjson.decode('[1.5]')[1]), tostring(cjson.decode('1e400')), "
            "tostring(cjson.decode('-1e400')), tostring(cjson.decode('[12345678901234567890]')[1])}"
        ),
        'return cjson.decode(\'"a\\\\u00e9\\\\ud83d\\\\ude00\\\\n\\\\/\\\\"\\\\\\\\"\')',
        "return cjson.decode('-1')",
        "return cjson.decode('01')",
        "return cjson.decode('0x1F')",
        (
            "return tostring(cjson.decode('nan')) .. tostring(cjson.decode('inf')) .. "
            "tostring(cjson.decode('-Infinity'))"
        ),
        "return cjson.decode('[1e5, 1E+2, 1.e3, 5e-1]')",
        "return cjson.decode('-.5')",
        'return cjson.decode(\'{"a":1,"a":2}\').a',
        "return cjson.decode('{\"\":5}')['']",
        "return cjson.decode(5)",
        "return #cjson.decode('[\"\\233\\1\"]')[1]",
        "local s = string.rep('[',1000)..string.rep(']',1000) return type(cjson.decode(s))",
        "local function f() return cjson.decode('[') end return f()",
        (
            "local d = "
            'cjson.decode(\'{"id":123,"name":"job","data":{"a":[1,2,3],"b":{"c'
            '":null}},"opts":{"attempts":3,"delay":0,"ts":1700000000000}}\') '
            "return {d.id,d.name,d.data.a[2],d.opts.ts,cjson.encode(d.data.a)}"
        ),
    ),
    evaluated(
        "cjson-decode-errors",
        "return cjson.decode('\"\\\\ud83d\"')",
        "return cjson.decode('\"\\\\ude00\"')",
        "return cjson.decode('\"\\\\u12g4\"')",
        "return cjson.decode('\"\\\\x\"')",
        "return cjson.decode('\"abc')",
        "return cjson.decode('\"a\\0b\"')",
        "return cjson.decode('[1,2')",
        "return cjson.decode('[1 2]')",
        "return cjson.decode('[1,]')",
        "return cjson.decode('{\"a\"}')",
        "return cjson.decode('{\"a\":}')",
        'return cjson.decode(\'{"a":1 "b":2}\')',
        "return cjson.decode('{a:1}')",
        "return cjson.decode('{1:1}')",
        "return cjson.decode('{,}')",
        "return cjson.decode('')",
        "return cjson.decode('  ')",
        "return cjson.decode('[] x')",
        "return cjson.decode('[] ]')",
        "return cjson.decode('tru')",
        "return cjson.decode('nul')",
        "return cjson.decode('fals')",
        "return cjson.decode('@')",
        "return cjson.decode('+1')",
        "return cjson.decode('-')",
        "return cjson.decode('.5')",
        "return cjson.decode('1e')",
        "return cjson.decode(nil)",
        "return cjson.decode()",
        "return cjson.decode('1','2')",
        "return cjson.decode('\\0\\0')",
        "return cjson.decode('1\\0garbage')",
        "return cjson.decode('[1]\\0garbage')",
        "local s = string.rep('[',1001)..string.rep(']',1001) return type(cjson.decode(s))",
        "local ok, e = pcall(cjson.decode, '[') return e",
    ),
    evaluated(
        "cjson-settings",
        (
            "cjson.decode_max_depth(2) local ok, e = pcall(cjson.decode, '[[[1]]]') "
            "cjson.decode_max_depth(1000) return e"
        ),
        "cjson.encode_max_depth(2) local ok, e = pcall(cjson.encode, {{{1}}}) cjson.encode_max_depth(1000) return e",
        "cjson.encode_number_precision(3) local r = cjson.encode(3.14159) cjson.encode_number_precision(14) return r",
        (
            "cjson.decode_max_depth(100000) local ok, e = pcall(cjson.decode, string.rep('[', 9000)) "
            "cjson.decode_max_depth(1000) return e"
        ),
        "return cjson.encode_number_precision(15)",
        "return cjson.encode_number_precision(0)",
        "return cjson.encode_number_precision('x')",
        "return {cjson.encode_sparse_array()}",
        (
            "local a,b,c = cjson.encode_sparse_array(true, 2, 3) local r = cjson.encode({[1]=1,[100]=2}) "
            "cjson.encode_sparse_array(false,2,10) return {tostring(a),b,c,r}"
        ),
        "return cjson.encode_sparse_array(1,2,3,4)",
        (
            "cjson.encode_invalid_numbers('null') local r = cjson.encode({1/0}) "
            "cjson.encode_invalid_numbers(false) return r"
        ),
        (
            "cjson.encode_invalid_numbers(true) local r = cjson.encode({1/0,-1/0,0/0}) "
            "cjson.encode_invalid_numbers('off') return r"
        ),
        "return cjson.encode_invalid_numbers('x')",
        "return cjson.encode_invalid_numbers({})",
        (
            "cjson.decode_invalid_numbers(false) local ok,e = pcall(cjson.decode,'[01]') local ok2,e2 = "
            "pcall(cjson.decode,'[nan]') cjson.decode_invalid_numbers(true) return {e,e2}"
        ),
        (
            "return {tostring(cjson.encode_keep_buffer()), tostring(cjson.encode_invalid_numbers()), "
            "tostring(cjson.decode_invalid_numbers()), cjson.encode_max_depth(), cjson.decode_max_depth()}"
        ),
        "local c = cjson.new() c.x = 1 return {c.encode({1}), c.x, c._NAME, c._VERSION}",
    ),
    evaluated(
        "bit",
        (
            "return bit.band(0xff, 0x0f) .. ' ' .. bit.bor(1,2,4) .. ' ' .. bit.bxor(5,3) .. ' ' .. "
            "bit.bnot(0) .. ' ' .. bit.lshift(1,31) .. ' ' .. bit.rshift(-1,28) .. ' ' .. bit.arshift(-256,4) "
            ".. ' ' .. bit.rol(0x12345678,12) .. ' ' .. bit.ror(0x12345678,12) .. ' ' .. bit.bswap(0x12345678) "
            ".. ' ' .. bit.tohex(255) .. ' ' .. bit.tohex(255,4) .. ' ' .. bit.tohex(255,-4)"
        ),
        (
            "return {bit.tobit(2^31), bit.tobit(2^32+5), bit.tobit(1.5), bit.tobit(2.5), bit.tobit(-1.5), "
            "bit.tobit('0x10'), bit.tobit('7'), bit.tobit(1e20), bit.tobit(0/0), bit.tobit(1/0), "
            "bit.tobit(2^52+1), bit.tobit(-2^40)}"
        ),
        "return bit.band()",
        "return bit.band('x')",
        "return bit.band(1,nil)",
        "return bit.lshift(1)",
        "return bit.lshift(1,33)",
        "return bit.rshift(1,-1)",
        "return bit.rol(1,0)",
        "return bit.tohex(65535, -2147483648)",
        "return bit.tohex(1,2,3)",
        "return bit.tohex(255, 20)",
        "return bit.tohex(255, 0)",
        "return bit.tohex()",
        "return bit.bswap(nil)",
    ),
    evaluated(
        "struct-pack",
        "return struct.pack('>I2h', 1, -2)",
        "return struct.pack('<i4L', -5, 2^40)",
        "return struct.pack('!8bd', 1, 1.5)",
        "return struct.pack('>fd', 0.1, 0.1)",
        "return struct.pack('c3c0s', 'abcdef', 'xyz', 'zero')",
        "return struct.pack('c5', 'abc')",
        "return struct.pack('xBx', 255)",
        "return struct.pack('q', 1)",
        "return struct.pack('i33', 1)",
        "return struct.pack('!3i', 1)",
        "return struct.pack('i')",
        "return struct.pack('i', 'x')",
        "return struct.pack('i', '12')",
        "return struct.pack('i', '0x12')",
        "return struct.pack('s', 12.5)",
        "return struct.pack('s')",
        "return struct.pack('c', {})",
        "return struct.pack()",
        "return struct.pack('i99999999999', 1)",
        "return struct.pack('>i16', -1)",
        "return struct.pack('<I3', 70000)",
        "return struct.pack('f', 1e300)",
    ),
    evaluated(
        "struct-unpack",
        "return {struct.unpack('>I2h', struct.pack('>I2h', 1, -2))}",
        "return {struct.unpack('<i4Lb', struct.pack('<i4Lb', -5, 2^40, -1))}",
        "local a,b,c = struct.unpack('<fd', struct.pack('<fd', 0.5, 0.1)) return {tostring(a),tostring(b),c}",
        "return {struct.unpack('Bc0', '\\3abcdef')}",
        "return {struct.unpack('c0', 'abc')}",
        "return {struct.unpack('s', 'abc')}",
        "return {struct.unpack('ss', 'abc\\0def\\0')}",
        "return {struct.unpack('i', 'abc')}",
        "return {struct.unpack('b', 'abc', 3)}",
        "return {struct.unpack('b', 'abc', 4)}",
        "return {struct.unpack('b', 'abc', 0)}",
        "return {struct.unpack('b', 'abc', -1)}",
        "return {struct.unpack('x', 'abc', 9223372036854775807)}",
        "return {struct.unpack('!4bi', '\\1\\0\\0\\0\\2\\0\\0\\0')}",
        "return {struct.unpack('>i16', string.rep('\\255',16))}",
        "return {struct.unpack('>I8', string.rep('\\255',8))}",
        "return {struct.unpack('i', 5)}",
        "return {struct.unpack('i')}",
        "return {struct.unpack()}",
        "return {struct.unpack('z', 'abc')}",
        "return {struct.size('!4bid'), struct.size('>I2h'), struct.size('c10'), struct.size('')}",
        "return struct.size('s')",
        "return struct.size('c0')",
        "return struct.size('q')",
        "return struct.size()",
    ),
    evaluated(
        "cmsgpack-pack",
        "return cmsgpack.pack(1)",
        "return cmsgpack.pack({1,2,3})",
        "return cmsgpack.pack({a=1})",
        "return cmsgpack.pack({1,{2,{3}}})",
        "return cmsgpack.pack({})",
        (
            "return cmsgpack.pack(nil, true, false, 0, 127, 128, 255, 256, 65535, 65536, 2^32-1, 2^32, 2^53, "
            "-1, -32, -33, -128, -129, -32768, -32769, -2^31, -2^31-1, -2^53)"
        ),
        "return cmsgpack.pack(2^62, 2^63, -2^63, -2^63*2, 1.5, 0.1, 1e300, 1/0, -1/0, 3.4e38, 1e38)",
        "return cmsgpack.pack(0/0)",
        (
            "return cmsgpack.pack('', 'a', string.rep('x',31), string.rep('x',32), string.rep('x',255), "
            "string.rep('x',256))"
        ),
        "return #cmsgpack.pack(string.rep('x',65536))",
        "return cmsgpack.pack({[1]=1,[2]=2,[4]=4})",
        "return cmsgpack.pack({[1.5]=1})",
        "return cmsgpack.pack(function() end)",
        "return cmsgpack.pack()",
        "local t={} for i=1,20 do t[i]=i end return cmsgpack.pack(t)",
        "local t={} t[1]=t return cmsgpack.pack(t)",
    ),
    evaluated(
        "cmsgpack-unpack",
        "return cmsgpack.unpack(cmsgpack.pack({1,{2,'x'},true}))",
        "local a,b,c = cmsgpack.unpack(cmsgpack.pack(1,'two',{3})) return {a,b,c}",
        "return {cmsgpack.unpack('')}",
        "return {cmsgpack.unpack('\\204')}",
        "return {cmsgpack.unpack('\\193')}",
        "return {cmsgpack.unpack('\\146\\1')}",
        "return {cmsgpack.unpack(nil)}",
        "return {cmsgpack.unpack()}",
        "return {cmsgpack.unpack(12)}",
        "return {cmsgpack.unpack_one('\\1\\2\\3')}",
        "return {cmsgpack.unpack_one('\\1\\2\\3', 2)}",
        "return {cmsgpack.unpack_one('\\1\\2\\3', 3)}",
        "return {cmsgpack.unpack_one('\\1\\2\\3', 4)}",
        "return {cmsgpack.unpack_one('\\1\\2\\3', -1)}",
        "return {cmsgpack.unpack_limit('\\1\\2\\3', 2)}",
        "return {cmsgpack.unpack_limit('\\1\\2\\3', 2, 1)}",
        "return {cmsgpack.unpack_limit('\\1\\2\\3', 0)}",
        "return {cmsgpack.unpack_limit('\\1\\2\\3', -1)}",
        "return {cmsgpack.unpack_limit('\\1\\2\\3')}",
        "return {cmsgpack.unpack_limit('\\1\\2\\3', 'x')}",
        "local t = cmsgpack.unpack(cmsgpack.pack({a={b={c=1}}})) return t.a.b.c",
        "local t = cmsgpack.unpack('\\202\\63\\128\\0\\0') return t",
        (
            "local a,b,c,d,e,f = "
            "cmsgpack.unpack('\\208\\255\\209\\255\\255\\210\\255\\255\\255\\255\\211\\255\\25"
            "5\\255\\255\\255\\255\\255\\255\\207\\255\\255\\255\\255\\255\\255\\255\\255\\224') "
            "return {a,b,c,d,tostring(e),f}"
        ),
        "local a,b,c,d = cmsgpack.unpack('\\217\\1x\\218\\0\\1y\\219\\0\\0\\0\\1z\\192') return {a,b,c,tostring(d)}",
        "return cmsgpack.unpack('\\220\\0\\2\\1\\2')",
        "return cmsgpack.unpack('\\222\\0\\1\\161a\\5').a",
        "return {cmsgpack.unpack('\\129\\192\\5')}",
        "return {cmsgpack.unpack('\\129\\202\\127\\192\\0\\0\\5')}",
        "return {cmsgpack.unpack('\\129\\192\\193')}",
        "return #cmsgpack.unpack('\\148\\1\\192\\192\\4')",
        "return #cmsgpack.unpack('\\149\\1\\192\\3\\4\\5')",
        "return #cmsgpack.unpack('\\152\\1\\2\\192\\4\\5\\192\\7\\192')",
        "local s = '' for i=1,9000 do s = s .. '\\1' end return #{cmsgpack.unpack(s)}",
        "local s = '' for i=1,5000 do s = s .. '\\1' end local t = {cmsgpack.unpack(s)} return {#t, t[5000]}",
    ),
    evaluated(
        "listing",
        (
            "return {type(cjson), type(cmsgpack), type(bit), type(struct), cmsgpack._NAME, cmsgpack._VERSION, "
            "cmsgpack._COPYRIGHT, cmsgpack._DESCRIPTION}"
        ),
        "local t={} for k in pairs(cjson) do t[#t+1]=k end table.sort(t) return t",
        "local t={} for k in pairs(bit) do t[#t+1]=k end table.sort(t) return t",
        "local t={} for k in pairs(struct) do t[#t+1]=k end table.sort(t) return t",
        "local t={} for k in pairs(cmsgpack) do t[#t+1]=k end table.sort(t) return t",
    ),
]
