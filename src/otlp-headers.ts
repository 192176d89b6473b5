/**
 * Reads headers as the OpenTelemetry specification writes them: `name=value,name=value`, with percent-encoded values.
 * Returns undefined for a text of another form.
 */
export function parseOtlpHeaders(text: string): Readonly<Record<string, string>> | undefined {
  const headers: Record<string, string> = {};
  for (const pair of text.split(',')) {
    const [, name, encoded = ''] = /^\s*([\w-]+)\s*=(.*)$/s.exec(pair) ?? [];
    const value = decode(encoded.trim());
    if (name === undefined || value === undefined || !/^[\x20-\x7e]*$/.test(value)) return undefined;
    headers[name] = value;
  }
  return headers;
}

function decode(encoded: string): string | undefined {
  try {
    return decodeURIComponent(encoded);
  } catch {
    return undefined;
  }
}
