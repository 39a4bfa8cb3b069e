/** What users can be called: letters, digits and `._@-`, in lower case; it begins with a letter or digit. */
export const USER_ID: RegExp = /^[a-z0-9][a-z0-9._@-]{0,63}$/;

/** Whether that can be a user's id. */
export function isUserId(text: string): boolean {
  return USER_ID.test(text);
}
